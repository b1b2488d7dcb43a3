"""`compact`: the precision of bfloat16, compressed.

Fractions are rounded to 7 bits, so that the rest are zeros that compress. Blosc sorts the bits of a
chunk by their place in a number and compresses them with LZ4. Both are what any Zarr v3 reader
undoes by itself: rounded states are states, and blosc is a codec of its core.
Sources: Kloewer et al. 2021, https://doi.org/10.1038/s43588-021-00156-2 (rounding bits away);
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/blosc/index.html
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store.shards.encodings.base import Json, Rows
from actstore.store.shards.widening import convert

KEPT_BITS = 7
"""Of the fraction. A normal number is off by at most 2**-8 of itself."""
_SHARES = {"float16": 0.75, "float32": 0.4}
"""What is left of states, measured: see docs/precision.md."""
_LEVEL = 5
_BITSHUFFLE = 2
_HEADER = 16
"""Bytes of blosc's own, in which it says how long a chunk is: before and after compression."""


class Compact:
    """Stores states rounded to 7 bits of fraction, in their own dtype, compressed by blosc."""

    in_place = False
    compresses = True
    last_dim = "hidden"
    fill: Json = "NaN"

    overhead = _HEADER

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        return np.dtype(dtype)

    def width(self, hidden_size: int, rows_per_chunk: int) -> int:
        del rows_per_chunk
        return hidden_size

    def codecs(self, dtype: str) -> list[Json]:
        settings: Json = {
            "cname": "lz4",
            "clevel": _LEVEL,
            "shuffle": "bitshuffle",
            "typesize": np.dtype(dtype).itemsize,
            "blocksize": 0,
        }
        return [{"name": "blosc", "configuration": settings}]

    def share(self, dtype: str) -> float:
        return _SHARES[dtype]

    def encode(self, states: NDArray[np.floating[Any]], filled: NDArray[np.bool_]) -> bytes:
        del filled
        rounded, size = rounded_states(states), states.dtype.itemsize
        packed: bytes = _blosc().compress(rounded, b"lz4", _LEVEL, _BITSHUFFLE, 0, size)
        return packed

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        stated = np.frombuffer(data[: len(data) // _HEADER and _HEADER], "<u4")[1::2].tolist()
        if stated != [out.size, data.size]:  # looked at before anything is allocated or written
            raise ValueError(f"blosc is told {stated} bytes, not {[out.size, data.size]}")
        try:
            _blosc().decompress(data, out)
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    def decode(self, chunk: NDArray[Any], rows: Rows, out: NDArray[np.floating[Any]]) -> None:
        convert(chunk[rows], out)


def rounded_states(states: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """States rounded to KEPT_BITS bits of fraction, the nearest, ties to even.

    What would round to infinity takes the largest number there is with so few bits, which is as
    near. Infinities and NaN stay what they are.
    """
    info = np.finfo(states.dtype)
    bits = states.view(f"u{states.itemsize}")
    one = bits.dtype.type(1)
    dropped = bits.dtype.type(info.nmant - KEPT_BITS)
    half = (one << (dropped - one)) - one
    rounded = (bits + half + (bits >> dropped & one)) >> dropped << dropped
    result: NDArray[np.floating[Any]] = rounded.view(states.dtype)
    overflown = ~np.isfinite(result)
    if overflown.any():
        largest = np.array(info.max, states.dtype).view(bits.dtype) >> dropped << dropped
        limit = np.copysign(largest.view(states.dtype), states[overflown])
        kept = states[overflown]
        result[overflown] = np.where(np.isfinite(kept), limit, kept)
    return result


@cache
def _blosc() -> ModuleType:
    """numcodecs' blosc, which compresses in the calling thread alone.

    With threads of its own the compressed bytes would depend on which of them is first.
    zarr-python sets the same when it is imported.
    """
    from numcodecs import blosc

    blosc.use_threads = False
    module: ModuleType = blosc
    return module
