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
from actstore.refs import look_up


@functools.cache
def tasks() -> tuple[str, ...]:
    """The names of all tasks, those of other modalities than text included."""
    return (*DEMO_TASKS, *(task.metadata.name for task in TASK_LIST))


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


def benchmark_name(name: str) -> str:
    """What a benchmark is called that `name` is an alias of; other names are as they were."""
    return str(benchmarks()[name].name) if name in benchmarks() else name


def is_text(benchmark: Any) -> bool:
    """Whether all tasks of a benchmark are made of text alone."""
    return all(task.metadata.modalities == ["text"] for task in benchmark.tasks)


def parts(task: AbsTask) -> Iterable[AbsTask]:
    """A task, or the tasks of an aggregate task (CQADupstack)."""
    return task.tasks if isinstance(task, AbsTaskAggregate) else [task]


def text_task(name: str) -> AbsTask:
    """A fresh task object without data, as mteb runs it; also one that is an aggregate of others.

    Raises UnknownNameError for a task there is not, InvalidInputError for one that is not of text.
    """
    if name in DEMO_TASKS:
        return DEMO_TASKS[name]()
    look_up("task", name, tasks(), "List the suites: actstore suites.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a task is renamed or in beta
        task = mteb.get_task(name)
    require_text(task)
    return task


def new_task(
    name: str, splits: Sequence[str] | None = None, subsets: Sequence[str] | None = None
) -> AbsTask:
    """A fresh task object without data, narrowed to some splits and subsets.

    Raises UnknownNameError for a task, split or subset there is not, InvalidInputError for a task
    that is not made of text, or that is an aggregate of others.
    """
    task = text_task(name)
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
            "of text can be evaluated from a store. Leave it out."
        )


def _narrow(task: AbsTask, splits: Sequence[str] | None, subsets: Sequence[str] | None) -> AbsTask:
    for split in splits or ():
        _look_up_part("split", split, task, task.eval_splits)
    for subset in subsets or ():
        _look_up_part("subset", subset, task, task.hf_subsets)
    if splits:
        task = task.filter_eval_splits([*splits])
    return task.filter_languages(None, hf_subsets=[*subsets]) if subsets else task


def _look_up_part(kind: str, name: str, task: AbsTask, known: Sequence[str]) -> None:
    of_task = f"{task.metadata.name} runs the {kind}s {', '.join(known[:12])}"
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    look_up(f"{kind} of {task.metadata.name}", name, known, f"{of_task}{more}.")
