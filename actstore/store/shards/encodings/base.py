"""What every way to store states offers."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Json = str | int | float | bool | None | list[Any] | dict[str, Any]
Rows = slice | NDArray[np.integer[Any]]


class Encoding(Protocol):
    """How the states of a chunk, the texts of some rows at one layer, become bytes and return.

    A chunk is an array of stored values (row, width), from which some or all rows are decoded.
    What is compressed is read through the shard's index, since its chunks differ in size; all else
    lies where the layout says.
    """

    in_place: bool
    """Whether the states are stored as they are."""
    compresses: bool
    """Whether chunks are compressed, and so differ in size."""
    last_dim: str
    """What the stored values of a row are, as a dimension of the Zarr array."""
    fill: Json
    """Zarr's fill value, which decodes to NaN."""

    overhead: int
    """Bytes by which a chunk may grow where it cannot be compressed."""

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        """Of the Zarr array, for states of `dtype`."""

    def width(self, hidden_size: int, rows_per_chunk: int) -> int:
        """How many stored values make a row."""

    def codecs(self, dtype: str) -> list[Json]:
        """The Zarr codecs between `bytes` and `crc32c`."""

    def share(self, dtype: str) -> float:
        """What compression leaves of a chunk's bytes, as a rule, for states of `dtype`."""

    def encode(self, states: NDArray[np.floating[Any]], filled: NDArray[np.bool_]) -> bytes:
        """The bytes of a chunk of states (row, hidden), NaN where it is not `filled` (row,).

        Raises StateRangeError for states that cannot be encoded.
        """

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Fill `out` with a chunk's stored values. Raises ValueError for bytes that would not.

        Only where `compresses`.
        """

    def decode(self, chunk: NDArray[Any], rows: Rows, out: NDArray[np.floating[Any]]) -> None:
        """Fill `out` (n, hidden), of any float dtype, with some rows of a chunk (row, width)."""
