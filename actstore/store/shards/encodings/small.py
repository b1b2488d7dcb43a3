"""`small`: 8 bits a value, around the mean of the chunk's rows, rotated.

What scores and metrics see of a state is where it differs from the others, and in a residual
stream that is little beside what all have in common. So a chunk's mean row is kept exactly, and
each row is what is left of it, rotated (see `rotation.py`), in whole steps of a size of its own.

A chunk is (row, width) in bytes. A row: `hidden` whole numbers from -127 to 127, the float32 size
of a step, and a part of the chunk's mean row: the parts, one behind the other, are its float32
values. A row whose step is NaN holds no text, and one whose step is negative is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError, StateRangeError
from actstore.store.shards.encodings.base import Json, Rows
from actstore.store.shards.encodings.rotation import Rotation, rotation
from actstore.store.shards.widening import convert

_LARGEST = 127
_FLOAT = 4
"""Bytes of a float32."""
_MOST_ODD = 8191
"""A rotation is a matrix as large as the odd part of the hidden size; models have 1 to 45."""
_BLANK = 255
"""Each byte of NaN: of the step of rows that hold no text, and of chunks that are not there."""


class Small:
    """Stores states in 8 bits a value, whatever their dtype."""

    in_place = False
    compresses = False
    last_dim = "byte"
    fill: Json = _BLANK

    overhead = 0

    def stored_dtype(self, dtype: str) -> np.dtype[Any]:
        del dtype
        return np.dtype(np.uint8)

    def width(self, hidden_size: int, rows_per_chunk: int) -> int:
        if hidden_size // (hidden_size & -hidden_size) > _MOST_ODD:
            raise InvalidInputError(
                f"A hidden size of {hidden_size} cannot be rotated: without its factors of two it "
                f"is more than {_MOST_ODD}. Use --precision exact or compact."
            )
        return hidden_size + _FLOAT + -(-hidden_size * _FLOAT // rows_per_chunk)

    def codecs(self, dtype: str) -> list[Json]:
        del dtype
        return []

    def share(self, dtype: str) -> float:
        del dtype
        return 1.0

    def encode(self, states: NDArray[np.floating[Any]], filled: NDArray[np.bool_]) -> bytes:
        n_rows, hidden = states.shape
        chunk = np.full((n_rows, self.width(hidden, n_rows)), _BLANK, np.uint8)
        places, turning = np.flatnonzero(filled), rotation(hidden)
        rows = np.empty((len(places), hidden), np.float32)
        convert(states[places], rows)
        centre = rows.mean(0, dtype=np.float64).astype(np.float32)
        for start in range(0, len(places), turning.rows_at_once):
            part = slice(start, start + turning.rows_at_once)
            chunk[places[part], : hidden + _FLOAT] = _encode(rows[part], centre, turning)
        shares = np.zeros((n_rows, chunk.shape[1] - hidden - _FLOAT), np.uint8)
        shares.ravel()[: hidden * _FLOAT] = _as_bytes(centre)
        chunk[:, hidden + _FLOAT :] = shares
        return chunk.tobytes()

    def decompress(self, data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        raise NotImplementedError("small states are not compressed")

    def decode(self, chunk: NDArray[Any], rows: Rows, out: NDArray[np.floating[Any]]) -> None:
        turning = rotation(out.shape[1])
        centre = _centre(chunk, turning.size)
        chosen = chunk[rows, : turning.size + _FLOAT]
        for start in range(0, len(chosen), turning.rows_at_once):
            part = slice(start, start + turning.rows_at_once)
            _decode(chosen[part], centre, turning, out[part])


def _encode(
    states: NDArray[np.float32], centre: NDArray[np.float32], turning: Rotation
) -> NDArray[np.uint8]:
    """(n, hidden + 4): the levels and the step of each of some states (n, hidden).

    Raises StateRangeError for a state that is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # seen in the largest
        turned = turning.turn((states - centre) * turning.signs)
    largest = np.abs(turned).max(1)
    if not np.isfinite(largest).all():
        raise StateRangeError(
            "States that are infinite, NaN or beyond float32 once rotated cannot be stored with "
            "--precision small. Store them with --precision exact in another store."
        )
    unit = largest / np.float32(_LARGEST)
    levels = np.rint(turned / np.where(unit > 0, unit, 1)[:, None]).clip(-_LARGEST, _LARGEST)
    steps = np.where(states.any(1), unit / np.float32(turning.norm), np.float32(-1))
    return np.hstack([levels.astype(np.int8).view(np.uint8), _as_bytes(steps[:, None])])


def _decode(
    rows: NDArray[np.uint8], centre: NDArray[np.float32], turning: Rotation, out: NDArray[Any]
) -> None:
    """rows: (n, hidden + 4). Fills `out` (n, hidden)."""
    steps = np.ascontiguousarray(rows[:, turning.size :]).view("<f4")
    states = turning.turn(rows[:, : turning.size].view(np.int8).astype(np.float32))
    states *= steps
    states *= turning.signs
    np.add(states, centre, out=out, casting="same_kind")
    if (steps < 0).any():
        out[steps[:, 0] < 0] = 0


def _centre(chunk: NDArray[Any], hidden: int) -> NDArray[np.float32]:
    """(hidden,): the mean row of a chunk."""
    shares: NDArray[Any] = np.ascontiguousarray(chunk[:, hidden + _FLOAT :])
    return shares.ravel()[: hidden * _FLOAT].view("<f4")


def _as_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return values.astype("<f4").view(np.uint8)
