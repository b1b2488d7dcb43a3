"""From what is typed to a suite: names, files and lists of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import Suite
from actstore.evaluate.suites.shipped import SUITES, of_benchmark
from actstore.evaluate.suites.suite_file import is_suite_file, read_suite_file
from actstore.evaluate.suites.task_lists import split_tasks, suite_of_tasks
from actstore.refs import look_up
from actstore.store import Store


def resolve_suite(suite: Suite | str | Sequence[str], store: Store | None = None) -> Suite:
    """The suite of a name, a file or some task names; a Suite is returned as it is.

    suite: a suite file (.yaml, .yml), a suite collected into `store`, one of SUITES, a benchmark or
    task of mteb, several task names, or the same separated by commas; a task's subsets in brackets.
    Raises UnknownNameError with the nearest names, and InvalidInputError for a task that is not
    made of text and for a file that cannot be used.
    """
    if isinstance(suite, Suite):
        return suite
    if not isinstance(suite, str):
        return suite_of_tasks([*suite], store)
    if is_suite_file(suite):
        return read_suite_file(Path(suite))
    named = _named(catalogue.benchmark_name(suite), store)
    if named is not None:
        return named
    tasks = split_tasks(suite)
    if len(tasks) == 1 and "[" not in suite:
        collected = [] if store is None else store.suites()
        known = [*collected, *SUITES, *catalogue.benchmarks(), *catalogue.tasks()]
        look_up("suite or task", tasks[0], known, "List them: actstore suites.")
    return suite_of_tasks(tasks, store)


def _named(name: str, store: Store | None) -> Suite | None:
    """A suite of this name: the store's, ours or mteb's."""
    if store is not None and name in store.suites():
        return Suite.from_json(store.suite(name))
    if name in SUITES:
        return SUITES[name]()
    return of_benchmark(name) if name in catalogue.benchmarks() else None
