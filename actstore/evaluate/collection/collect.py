"""Collecting a suite: its texts and its tasks' data into the store, so that no other step loads it.

Extraction then reads the texts from the store without mteb, and evaluation the tasks without the
network.
"""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import datasets
import numpy as np
import pyarrow as pa
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

from actstore.errors import ActstoreError, InvalidInputError, raise_failed
from actstore.evaluate.collection.bundle import IS_VERSIONS, FrozenData, freeze, versions
from actstore.evaluate.collection.record import EncodeCall, record_calls
from actstore.evaluate.collection.sources import loaded, pinned_revision
from actstore.evaluate.fast import quicken
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.progress import progress
from actstore.stopping import stop_on_signals
from actstore.store import NO_ROW, Json, Store
from actstore.store.records.documents import is_table

_TEXTS_AT_ONCE = 200_000
"""Texts are appended for several tasks at once: every appending begins a new shard."""
_QUICKENED = (AbsTaskClassification, AbsTaskClustering, AbsTaskClusteringLegacy)
"""What takes long to record: draws from hundreds of thousands of labels, scores of clusterings. Of
other kinds nothing is scored while they are recorded."""


@dataclass(frozen=True)
class CollectionReport:
    """What one collection did."""

    suite: str
    collected: tuple[str, ...]
    skipped: tuple[str, ...]
    """Tasks the store already had, of the same data revision and mteb version."""
    new_texts: int
    seconds: float


@dataclass(frozen=True)
class CollectedTask:
    """A task's calls and data, not yet stored."""

    selection: TaskSelection
    manifest: dict[str, Json]
    calls: list[EncodeCall]
    data: FrozenData


def collect(store: Store, suite: Suite | str | Sequence[str]) -> CollectionReport:
    """Bring a suite's texts, task data and definition into a store.

    suite: as `resolve_suite` takes it. Tasks the store has are skipped; tasks collected before an
    interruption or beside others that fail stay. Raises UnknownNameError for an unknown suite or
    task, InvalidInputError for data that cannot be loaded; where that holds for some of several
    tasks, PartlyDoneError after all others. Raises StoppedError on SIGTERM and SIGUSR1.
    """
    began, before = time.monotonic(), len(store.text_rows())
    resolved = resolve_suite(suite)
    todo = [_widened(store, task) for task in resolved.tasks if not _has(store, task)]
    _collect_tasks(store, resolved.name, todo)
    store.write_suite(resolved.name, resolved.to_json())
    names = tuple(task.name for task in todo)
    return CollectionReport(
        suite=resolved.name,
        collected=names,
        skipped=tuple(task.name for task in resolved.tasks if task.name not in names),
        new_texts=len(store.text_rows()) - before,
        seconds=time.monotonic() - began,
    )


def _collect_tasks(store: Store, suite: str, todo: Sequence[TaskSelection]) -> None:
    pending, failed = _Pending(store), dict[str, ActstoreError]()
    try:
        with (
            stop_on_signals() as stop,
            progress(f"Collecting {suite}", len(todo), "task") as advance,
        ):
            for selection in todo:
                try:
                    task = collect_task(selection)
                except ActstoreError as error:
                    stop.check()  # loading takes a signal for a fault of the data
                    failed[selection.name] = error
                else:
                    pending.add(task)
                advance(1)
    finally:
        pending.write()
    raise_failed(f"tasks of {suite} collected", failed, len(todo))


def collect_task(selection: TaskSelection) -> CollectedTask:
    """Load a task, record what it encodes and freeze its data.

    Raises InvalidInputError for data that cannot be loaded or a task that fails on them.
    """
    task = catalogue.new_task(selection.name, selection.splits, selection.subsets)
    with _quiet(), loaded(task) as commits:
        data, calls = _frozen(task)
    manifest: dict[str, Json] = {
        "name": selection.name,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "dataset": {key: str(value) for key, value in task.metadata.dataset.items()},
        "commits": {**commits},
        "selection": selection.to_json(),
        "versions": versions(),
        "shape": data.shape,
        "digest": _digest(data, calls),
    }
    return CollectedTask(selection, manifest, calls, data)


def _frozen(task: AbsTask) -> tuple[FrozenData, list[EncodeCall]]:
    """A loaded task's data and calls."""
    try:
        data = freeze(task)
        return data, record_calls(quicken(task) if isinstance(task, _QUICKENED) else task)
    except ActstoreError:
        raise
    except Exception as error:  # of a task's own code: the suite's others are not to suffer
        raise InvalidInputError(
            f"{task.metadata.name} fails on its own data: {type(error).__name__}: {error}. "
            "Leave the task out of the suite."
        ) from error


@dataclass
class _Pending:
    """Collected tasks until there are texts enough to append."""

    store: Store
    tasks: list[CollectedTask] = field(default_factory=list)
    texts: dict[str, None] = field(default_factory=dict)

    def add(self, task: CollectedTask) -> None:
        self.tasks.append(task)
        self.texts.update(dict.fromkeys(text for call in task.calls for text in call.texts))
        if len(self.texts) >= _TEXTS_AT_ONCE:
            self.write()

    def write(self) -> None:
        self.texts.pop("", None)  # it has no token, and so no state to store
        rows = dict(zip(self.texts, self.store.add_texts([*self.texts]).tolist(), strict=True))
        rows[""] = NO_ROW
        for task in self.tasks:
            calls = _calls_table(task.calls, rows)
            name = task.selection.name
            self.store.write_task(name, task.manifest, calls, task.data.tables)
        self.tasks.clear()
        self.texts.clear()


def _calls_table(calls: Sequence[EncodeCall], rows: dict[str, int]) -> pa.Table:
    """Columns split, subset, prompt_type, rows; a line a call, in order."""
    used = [np.array([rows[text] for text in call.texts], np.int64) for call in calls]
    return pa.table(
        {
            "split": pa.array([call.split for call in calls], pa.string()),
            "subset": pa.array([call.subset for call in calls], pa.string()),
            "prompt_type": pa.array([call.prompt_type for call in calls], pa.string()),
            "rows": pa.array(used, pa.list_(pa.int64())),
        }
    )


def _has(store: Store, selection: TaskSelection) -> bool:
    """Whether the store's bundle covers a selection and is of this data revision and mteb.

    A bundle that does not tell which commits were read may be of any.
    """
    if selection.name not in store.tasks():
        return False
    bundle = store.task(selection.name)
    stored = TaskSelection.from_json(bundle.told("selection", is_table))
    return (
        {*selection.splits} <= {*stored.splits}
        and {*selection.subsets} <= {*stored.subsets}
        and bundle.told("versions", IS_VERSIONS)["mteb"] == versions()["mteb"]
        and bundle.told("dataset", is_table).get("revision") == pinned_revision(selection.name)
        and "commits" in bundle.manifest
    )


def _widened(store: Store, selection: TaskSelection) -> TaskSelection:
    """A selection and what another suite collected of the task, so that both stay covered."""
    if selection.name not in store.tasks():
        return selection
    stored = TaskSelection.from_json(store.task(selection.name).told("selection", is_table))
    return replace(
        selection,
        splits=tuple(dict.fromkeys((*selection.splits, *stored.splits))),
        subsets=tuple(dict.fromkeys((*selection.subsets, *stored.subsets))),
    )


def _digest(data: FrozenData, calls: Sequence[EncodeCall]) -> str:
    """Identifies what a score depends on besides the states and the code: data and texts."""
    digest = hashlib.sha256(data.digest().encode())
    for call in calls:
        header = (call.split, call.subset, call.prompt_type, str(len(call.texts)))
        for part in (*header, *call.texts):
            digest.update(part.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the bars and warnings of the libraries below away from ours."""
    bars, logger = datasets.are_progress_bars_disabled(), logging.getLogger("mteb")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
