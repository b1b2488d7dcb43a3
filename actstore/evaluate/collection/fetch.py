"""Fetching a suite's data sets on a machine with a network, for those that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actstore.evaluate.collection.sources import dataset_snapshot
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.snapshots import FetchReport, Snapshot, fetch_all
from actstore.store import Store


def fetch_suite(suite: Suite | str | Sequence[str], store: Store | None = None) -> FetchReport:
    """Have the data of all tasks of a suite in the hub cache, each at the revision mteb pins.

    suite, store: as `resolve_suite` takes them. What is there is not downloaded again, also of
    files that an interruption left. Raises UnknownNameError for an unknown suite or task, and
    PartlyDoneError after all others where data cannot be had (InvalidInputError for a lone task).
    """
    resolved = resolve_suite(suite, store)
    tasks = [task for task in resolved.tasks if task.name not in catalogue.demo_tasks()]
    wanted = {task.name: _snapshot_of(task) for task in tasks}
    return fetch_all(f"Fetching {resolved.name}", "data set", wanted)


def _snapshot_of(selection: TaskSelection) -> Callable[[], list[Snapshot]]:
    task = catalogue.new_task(selection.name, selection.splits, selection.subsets)
    return lambda: [dataset_snapshot(task)]
