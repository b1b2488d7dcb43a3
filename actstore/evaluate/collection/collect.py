"""Collecting a suite: its texts and its tasks' data into the store, so that no other step needs it.

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
from mteb.abstasks import AbsTask

from actstore.errors import InvalidInputError, InvalidTextError
from actstore.evaluate.collection.bundle import FrozenData, freeze, versions
from actstore.evaluate.collection.record import EncodeCall, record_calls
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.progress import progress
from actstore.store import Json, Store

_TEXTS_AT_ONCE = 200_000
"""Texts are appended for several tasks at once: every appending begins a new shard."""


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
    interruption stay. Raises UnknownNameError for an unknown suite or task, InvalidInputError for
    data that cannot be loaded, InvalidTextError for a task with an empty text.
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
    pending = _Pending(store)
    try:
        with progress(f"Collecting {suite}", len(todo), "task") as advance:
            for selection in todo:
                pending.add(collect_task(selection))
                advance(1)
    finally:
        pending.write()


def collect_task(selection: TaskSelection) -> CollectedTask:
    """Load a task, record what it encodes and freeze its data."""
    task = catalogue.new_task(selection.name, selection.splits, selection.subsets)
    with _quiet():
        _load(task)
        data = freeze(task)
        calls = record_calls(task)
    _require_text(selection.name, calls)
    manifest: dict[str, Json] = {
        "name": selection.name,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "dataset": {key: str(value) for key, value in task.metadata.dataset.items()},
        "selection": selection.to_json(),
        "versions": versions(),
        "shape": data.shape,
        "digest": _digest(data, calls),
    }
    return CollectedTask(selection, manifest, calls, data)


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
        rows = dict(zip(self.texts, self.store.add_texts([*self.texts]).tolist(), strict=True))
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
    """Whether the store's bundle covers a selection and is of this data revision and mteb."""
    if selection.name not in store.tasks():
        return False
    manifest = store.task(selection.name).manifest
    stored = TaskSelection.from_json(manifest["selection"])
    revision = catalogue.new_task(selection.name).metadata.dataset.get("revision")
    return (
        {*selection.splits} <= {*stored.splits}
        and {*selection.subsets} <= {*stored.subsets}
        and manifest["versions"]["mteb"] == versions()["mteb"]
        and manifest["dataset"].get("revision") == str(revision)
    )


def _widened(store: Store, selection: TaskSelection) -> TaskSelection:
    """A selection and what another suite collected of the task, so that both stay covered."""
    if selection.name not in store.tasks():
        return selection
    stored = TaskSelection.from_json(store.task(selection.name).manifest["selection"])
    return replace(
        selection,
        splits=tuple(dict.fromkeys((*selection.splits, *stored.splits))),
        subsets=tuple(dict.fromkeys((*selection.subsets, *stored.subsets))),
    )


def _load(task: AbsTask) -> None:
    name, source = task.metadata.name, task.metadata.dataset
    try:
        task.load_data()
    except Exception as error:
        raise InvalidInputError(
            f"The data of {name} could not be loaded from {source.get('path')} at revision "
            f"{source.get('revision')}: {type(error).__name__}: {error}. Collect on a machine "
            "that reaches the Hugging Face Hub; the other steps need no network."
        ) from error


def _require_text(task: str, calls: Sequence[EncodeCall]) -> None:
    for call in calls:
        if "" in call.texts:
            raise InvalidTextError(
                f"{task} encodes an empty text (split {call.split}, subset {call.subset}, text "
                f"{call.texts.index('')} of {len(call.texts)}): it has no token to pool. "
                "Leave the task out of the suite."
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
