"""What a suite holds and what it costs to store, without downloading anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.counts import TextCount, count_texts
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.evaluate.suites.shipped import SUITES, of_benchmark
from actstore.store import NO_ROW, Store
from actstore.store.records.documents import is_table


@dataclass(frozen=True)
class SuiteRow:
    """One line of the list of suites."""

    name: str
    n_tasks: int
    """Scores that the suite's mean is over: an aggregate's parts count once, together."""
    description: str
    n_texts: int | None
    """Texts to encode for each layer, repeats counted; None where a task's count is not known."""
    n_unique: int | None
    """Distinct ones at most; None where a task's count is not known."""
    exact: bool
    """Whether the counts are those of a store that has all tasks."""
    n_superseded: int
    """Tasks of which mteb recommends a newer version."""

    def bytes_per_checkpoint(self, n_layers: int, hidden: int, value_bytes: int = 2) -> int | None:
        """What one pooling of all layers of a checkpoint takes, at most.

        n_layers: with the embedding output, 25 for a model of 24 blocks. value_bytes: 2 for
        float16. None where the count of texts is not known.
        """
        return None if self.n_unique is None else self.n_unique * n_layers * hidden * value_bytes


@dataclass(frozen=True)
class TaskDescription:
    """One task of a suite."""

    name: str
    type: str
    splits: tuple[str, ...]
    subsets: tuple[str, ...]
    averaged: tuple[tuple[str, str], ...]
    """The (split, subset) entries whose mean is the task's score."""
    part_of: str
    """The aggregate task it is a part of, or nothing."""
    main_score: str
    n_texts: int | None
    """Texts to encode for each layer, repeats counted; None where mteb has no statistics."""
    n_unique: int | None
    exact: bool
    """Whether the counts are the store's; else they are upper bounds."""
    shortest: int | None
    """Characters of the shortest text in mteb's statistics; 0 may keep it from being collected."""
    dataset: str
    revision: str
    superseded_by: str | None
    """The task mteb recommends instead."""


@dataclass(frozen=True)
class SuiteDescription:
    """A suite, task by task."""

    summary: SuiteRow
    tasks: tuple[TaskDescription, ...]


@dataclass(frozen=True)
class _Counted:
    """A task with its counts."""

    task: TaskSelection
    bound: TextCount | None
    """What mteb's statistics say."""
    rows: NDArray[np.int64] | None
    """The rows of all its texts, repeats included, where a store has them."""

    @property
    def n_texts(self) -> int | None:
        if self.rows is not None:
            return len(self.rows)
        return None if self.bound is None else self.bound.n_texts

    @property
    def n_unique(self) -> int | None:
        if self.rows is not None:
            return len(np.setdiff1d(self.rows, NO_ROW))
        return None if self.bound is None else self.bound.n_unique


def list_suites(store: Store | None = None) -> list[SuiteRow]:
    """What `resolve_suite` knows by name: our suites, mteb's of text, and the store's before them.

    Single tasks are left out. Counts are the store's where it has all tasks of a suite.
    """
    return [_row(suite, _count(suite, store)) for suite in _known(store)]


def describe_suite(
    suite: Suite | str | Sequence[str], store: Store | None = None
) -> SuiteDescription:
    """A suite's tasks, their data and counts.

    suite: as `resolve_suite` takes it; raises what that raises. Counts are the store's for the
    tasks it has, else what mteb's own statistics say.
    """
    resolved = resolve_suite(suite, store)
    counted = _count(resolved, store)
    return SuiteDescription(_row(resolved, counted), tuple(_describe(one) for one in counted))


def _known(store: Store | None) -> Iterator[Suite]:
    collected = [] if store is None else store.suites()
    if store is not None:
        yield from (Suite.from_json(store.suite(name)) for name in collected)
    yield from (make() for name, make in SUITES.items() if name not in collected)
    for name, benchmark in catalogue.benchmarks().items():
        if name == benchmark.name and name not in collected and catalogue.is_text(benchmark):
            yield of_benchmark(name)


def _row(suite: Suite, counted: Sequence[_Counted]) -> SuiteRow:
    tasks = [catalogue.text_task(task.name) for task in suite.tasks]
    rows = [one.rows for one in counted if one.rows is not None]
    exact = len(rows) == len(counted)
    n_unique = (
        len(np.setdiff1d(np.concatenate(rows), NO_ROW))
        if exact
        else _sum(c.n_unique for c in counted)
    )
    return SuiteRow(
        name=suite.name,
        n_tasks=suite.n_scores,
        description=suite.description,
        n_texts=_sum(one.n_texts for one in counted),
        n_unique=n_unique,
        exact=exact,
        n_superseded=sum(task.superseded_by is not None for task in tasks),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    found = [*counts]
    known = [count for count in found if count is not None]
    return sum(known) if len(known) == len(found) else None


def _count(suite: Suite, store: Store | None) -> list[_Counted]:
    there = [] if store is None else store.tasks()
    return [
        _Counted(
            task,
            count_texts(task),
            rows=None if store is None or task.name not in there else _rows(store, task),
        )
        for task in suite.tasks
    ]


def _rows(store: Store, task: TaskSelection) -> NDArray[np.int64] | None:
    """The rows a task encodes; None if it was collected for other splits or fewer subsets."""
    bundle = store.task(task.name)
    stored = TaskSelection.from_json(bundle.told("selection", is_table))
    if {*stored.splits} != {*task.splits} or not {*stored.subsets} >= {*task.subsets}:
        return None
    calls = bundle.calls()
    if {*stored.subsets} != {*task.subsets}:
        calls = calls.filter(pc.field("subset").isin([*task.subsets]))
    rows = calls["rows"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return cast(NDArray[np.int64], rows) if len(rows) else None  # none: of all subsets at once


def _describe(counted: _Counted) -> TaskDescription:
    task = counted.task
    known = catalogue.text_task(task.name)
    dataset = known.metadata.dataset
    return TaskDescription(
        name=task.name,
        type=known.metadata.type,
        splits=task.splits,
        subsets=task.subsets,
        averaged=task.averaged,
        part_of=task.part_of,
        main_score=known.metadata.main_score,
        n_texts=counted.n_texts,
        n_unique=counted.n_unique,
        exact=counted.rows is not None,
        shortest=None if counted.bound is None else counted.bound.shortest,
        dataset=str(dataset["path"]),
        revision=str(dataset["revision"]),
        superseded_by=known.superseded_by,
    )
