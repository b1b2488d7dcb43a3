"""Which rows of two stores hold the same texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store.texts.table import TextTable

Rows = NDArray[np.int64]

NOWHERE = -1
"""Stands for the row of a text that the other store does not have."""


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class RowMap:
    """Where the texts of a source are in a target."""

    target_row: Rows
    """(source row,): NOWHERE for a row without a text."""

    @classmethod
    def same(cls, rows: Rows) -> RowMap:
        """Of a target whose texts have the rows that they have in the source."""
        target_row = np.full(_end(rows), NOWHERE, np.int64)
        target_row[rows] = rows
        return cls(target_row)

    @classmethod
    def by_text(cls, source: TextTable, target: TextTable) -> RowMap:
        """Of two text tables, by the texts' hashes."""
        rows, known = source.rows(), target.rows()
        hashes, there = source.hashes_of(rows), target.hashes_of(known)
        order = np.argsort(there, order=("high", "low"))
        target_row = np.full(_end(rows), NOWHERE, np.int64)
        if len(known):
            place = np.searchsorted(there, hashes, sorter=order)
            nearest = order[np.minimum(place, len(order) - 1)]
            target_row[rows] = np.where(there[nearest] == hashes, known[nearest], NOWHERE)
        return cls(target_row)

    @cached_property
    def source_row(self) -> Rows:
        """(target row,): as far as the source's texts reach."""
        found = self.target_row[self.target_row >= 0]
        source_row = np.full(_end(found), NOWHERE, np.int64)
        source_row[found] = np.flatnonzero(self.target_row >= 0)
        return source_row

    def to_target(self, rows: NDArray[np.integer[Any]]) -> Rows:
        """The target's rows of rows of the source; what is negative stays as it is."""
        return _looked_up(self.target_row, np.asarray(rows, np.int64))

    def to_source(self, rows: NDArray[np.integer[Any]]) -> Rows:
        """The source's rows of rows of the target; NOWHERE for texts that it does not have."""
        return _looked_up(self.source_row, np.asarray(rows, np.int64))

    def keeps(self, rows: NDArray[np.integer[Any]]) -> bool:
        """Whether rows of the source are the same in the target."""
        return np.array_equal(self.to_target(rows), rows)


def _looked_up(table: Rows, rows: Rows) -> Rows:
    found = np.where(rows < 0, rows, NOWHERE)
    known = (rows >= 0) & (rows < len(table))
    found[known] = table[rows[known]]
    return found


def _end(rows: Rows) -> int:
    return int(rows.max()) + 1 if len(rows) else 0
