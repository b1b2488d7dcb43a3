"""The tasks there are: mteb's and the demo's, by name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import mteb
from mteb.abstasks import AbsTask
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.get_tasks import TASK_LIST

from actstore.errors import InvalidInputError
from actstore.evaluate.suites.demo_tasks import DEMO_TASKS


def tasks() -> list[str]:
    """The names of all tasks, those of other modalities than text included."""
    return [*DEMO_TASKS, *(task.metadata.name for task in TASK_LIST)]


def demo_tasks() -> list[str]:
    return [*DEMO_TASKS]


@functools.cache
def benchmarks() -> dict[str, Any]:
    """mteb's benchmarks by name and by alias (`MTEB(eng)` is the newest English one)."""
    found = {}
    for benchmark in mteb.get_benchmarks():
        for name in (benchmark.name, *(benchmark.aliases or ())):
            found[name] = benchmark
    return found


def is_text(benchmark: Any) -> bool:
    """Whether all tasks of a benchmark are made of text alone."""
    return all(task.metadata.modalities == ["text"] for task in benchmark.tasks)


def parts(task: AbsTask) -> Iterable[AbsTask]:
    """A task, or the tasks of an aggregate task (CQADupstack)."""
    return task.tasks if isinstance(task, AbsTaskAggregate) else [task]


def new_task(
    name: str, splits: Sequence[str] | None = None, subsets: Sequence[str] | None = None
) -> AbsTask:
    """A fresh task object without data, narrowed to some splits and subsets.

    Raises InvalidInputError for a task that is not made of text, or that is an aggregate of
    others, and for subsets it has not.
    """
    if name in DEMO_TASKS:
        return _narrow(DEMO_TASKS[name](), splits, subsets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a task is renamed or in beta
        task = mteb.get_task(name)
    require_text(task)
    if isinstance(task, AbsTaskAggregate):
        names = [part.metadata.name for part in task.tasks]
        raise InvalidInputError(
            f"{name} is the mean of {len(names)} tasks and has no data of its own. "
            f"Ask for them: {','.join(names)}"
        )
    return _narrow(task, splits, subsets)


def require_text(task: AbsTask) -> None:
    """Raise InvalidInputError for a task that is made of images, sound or video."""
    if task.metadata.modalities != ["text"]:
        raise InvalidInputError(
            f"{task.metadata.name} is made of {' and '.join(task.metadata.modalities)}; only tasks "
            "of text can be evaluated from a store."
        )


def _narrow(task: AbsTask, splits: Sequence[str] | None, subsets: Sequence[str] | None) -> AbsTask:
    missing = {*(splits or ())} - {*task.eval_splits} | {*(subsets or ())} - {*task.hf_subsets}
    if missing:
        raise InvalidInputError(
            f"{task.metadata.name} has no {' or '.join(sorted(missing))}. It has the splits "
            f"{', '.join(task.eval_splits)} and the subsets {', '.join(task.hf_subsets)}."
        )
    if splits:
        task = task.filter_eval_splits([*splits])
    return task.filter_languages(None, hf_subsets=[*subsets]) if subsets else task
