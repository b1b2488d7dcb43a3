"""How states become what a chunk holds: exactly, or smaller at a stated error.

An encoding turns the states of one text at one layer into a row of stored values, and a chunk of
such rows into bytes. What is compressed is read through the shard's index, since its chunks differ
in size; all else lies where the layout says.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actstore.store.shards.widening import convert

EXACT = "exact"


class Encoding(Protocol):
    """One way to store states."""

    compresses: bool
    """Whether chunks are compressed, and so differ in size."""
    codecs: tuple[dict[str, Any], ...]
    """The Zarr codecs between `bytes` and `crc32c`."""

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        """Of the Zarr array, for states of `dtype`."""

    def width(self, hidden_size: int) -> int:
        """How many stored values make a row."""

    def encode(self, states: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """States (…, hidden) as stored values (…, width)."""

    def decode(self, stored: NDArray[Any], out: NDArray[np.floating[Any]]) -> None:
        """Fill `out` (…, hidden), of any float dtype, with the states of stored (…, width)."""

    def compress(self, chunk: NDArray[np.uint8]) -> bytes:
        """The bytes of a chunk that are stored; only where `compresses`."""

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Fill `out` with a chunk's bytes. Raises ValueError for any that would not fill it."""


class Exact:
    """States as they are."""

    compresses = False
    codecs: tuple[dict[str, Any], ...] = ()

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        return np.dtype(dtype)

    def width(self, hidden_size: int) -> int:
        return hidden_size

    def encode(self, states: NDArray[np.floating[Any]]) -> NDArray[Any]:
        return states

    def decode(self, stored: NDArray[Any], out: NDArray[np.floating[Any]]) -> None:
        convert(stored, out)

    def compress(self, chunk: NDArray[np.uint8]) -> bytes:
        raise NotImplementedError("exact states are not compressed")

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        raise NotImplementedError("exact states are not compressed")


ENCODINGS: dict[str, Encoding] = {EXACT: Exact()}
"""By what `--precision` is given."""
