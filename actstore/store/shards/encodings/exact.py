"""`exact`: states as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store.shards.encodings.base import Json, Rows
from actstore.store.shards.widening import convert


class Exact:
    """Stores every bit of float16 or float32 states."""

    in_place = True
    compresses = False
    last_dim = "hidden"
    fill: Json = "NaN"

    overhead = 0

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        return np.dtype(dtype)

    def width(self, hidden_size: int, rows_per_chunk: int) -> int:
        del rows_per_chunk
        return hidden_size

    def codecs(self, dtype: str) -> list[Json]:
        del dtype
        return []

    def share(self, dtype: str) -> float:
        del dtype
        return 1.0

    def encode(self, states: NDArray[np.floating[Any]], filled: NDArray[np.bool_]) -> bytes:
        del filled
        return states.tobytes()

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        raise NotImplementedError("exact states are not compressed")

    def decode(self, chunk: NDArray[Any], rows: Rows, out: NDArray[np.floating[Any]]) -> None:
        convert(chunk[rows], out)
