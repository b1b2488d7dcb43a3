"""Whom damage concerns: which texts, and which tasks use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actstore.errors import ActstoreError

if TYPE_CHECKING:
    from actstore.store.store import Store

Span = tuple[int, int]
"""Rows: the first, and the one behind the last."""


class Users:
    """The texts and tasks of a store, read when the first problem asks for them.

    What is damaged itself is left out: it is named as a problem of its own.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def text_rows(self) -> NDArray[np.int64]:
        """All rows that hold a text, ascending."""
        try:
            return self._store.text_rows()
        except ActstoreError:
            return np.empty(0, np.int64)

    @cached_property
    def rows_of_tasks(self) -> dict[str, NDArray[np.int64]]:
        """The rows of each task, ascending."""
        found = {}
        for name in self._store.tasks():
            try:
                found[name] = np.unique(self._store.task(name).rows())
            except ActstoreError:
                continue
        return found

    @cached_property
    def suites(self) -> dict[str, tuple[str, ...]]:
        """The tasks of each collected suite."""
        found = {}
        for name in self._store.suites():
            try:
                tasks = self._store.suite(name)["tasks"]
            except ActstoreError:
                continue
            found[name] = tuple(task["name"] for task in tasks)
        return found

    def n_texts(self, spans: Sequence[Span]) -> int:
        """How many texts there are in some ranges of rows, which do not overlap."""
        return int(np.diff(np.searchsorted(self.text_rows, spans)).sum()) if spans else 0

    def tasks(self, spans: Sequence[Span]) -> tuple[str, ...]:
        """The tasks that use a text in any of some ranges of rows."""
        found = self.rows_of_tasks.items()
        return tuple(name for name, rows in found if _any_in(rows, spans))

    def suite_of(self, damaged: Iterable[int], done: Iterable[int], rows_per_shard: int) -> str:
        """What to give extract as --suite, so that of some shards the damaged are made again alone.

        done: all that were ever committed. Empty where they hold all texts, or where no suite or
        tasks say it.
        """
        wanted, there = set(damaged), set(done)
        if there >= _shards(self.text_rows, rows_per_shard):
            return ""
        of_tasks = {n: _shards(r, rows_per_shard) for n, r in self.rows_of_tasks.items()}
        inside = {name: shards for name, shards in of_tasks.items() if shards <= there}
        for name, tasks in self.suites.items():
            covered = {*inside} >= {*tasks} and {*tasks}
            if covered and set().union(*(inside[task] for task in tasks)) >= wanted:
                return name
        useful = {name: shards for name, shards in inside.items() if shards & wanted}
        return ",".join(useful) if set().union(*useful.values()) >= wanted else ""


def _any_in(rows: NDArray[np.int64], spans: Sequence[Span]) -> bool:
    if not spans:
        return False
    return bool(np.diff(np.searchsorted(rows, spans)).any())


def _shards(rows: NDArray[np.int64], size: int) -> set[int]:
    return set(np.unique(rows // size).tolist())
