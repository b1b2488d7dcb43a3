"""Lists of tasks as they are typed: `STS12,STS17[en-en],MassiveIntentClassification[en,de]`."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.evaluate.suites.shipped import of_task
from actstore.store import Store
from actstore.store.records.documents import is_table

_BETWEEN_TASKS = re.compile(r",(?![^\[\]]*\])")
"""A comma that is not inside brackets."""

_TASK = re.compile(r"(?P<name>[^\[\]]+?)\s*(?:\[(?P<subsets>[^\[\]]*)\])?")

_LONGEST_NAME = 120
"""A suite's name is a file's name in the store."""


@dataclass(frozen=True)
class NamedTask:
    """A task as it is typed."""

    name: str
    subsets: tuple[str, ...]
    """Those in brackets; empty without brackets, which means all."""

    def __str__(self) -> str:
        return f"{self.name}[{','.join(self.subsets)}]" if self.subsets else self.name


def split_tasks(listed: str) -> list[str]:
    """The tasks of a comma-separated list, with their brackets."""
    return [task for part in _BETWEEN_TASKS.split(listed) if (task := part.strip())]


def parse_task(typed: str) -> NamedTask:
    """`STS17[en-en]` taken apart. Raises InvalidInputError for brackets that cannot be read."""
    match = _TASK.fullmatch(typed.strip())
    listed = None if match is None else match["subsets"]
    subsets = [] if listed is None else [subset.strip() for subset in listed.split(",")]
    if match is None or not all(subsets):
        raise InvalidInputError(
            f"Cannot read the task {typed!r}. Write its name, or its name and some of its subsets: "
            "STS12 | STS17[en-en] | MassiveIntentClassification[en,de]"
        )
    return NamedTask(match["name"], tuple(dict.fromkeys(subsets)))


def select_task(typed: str, store: Store | None = None) -> list[TaskSelection]:
    """A task with the splits and subsets it was collected with, else all that mteb runs.

    Of an aggregate task these are its parts. Raises UnknownNameError for a task or subset there is
    not, InvalidInputError for a task that is not made of text and for subsets of an aggregate.
    """
    named = parse_task(typed)
    if named.subsets:
        catalogue.new_task(named.name, subsets=named.subsets)
    if store is not None and named.name in store.tasks():
        stored = TaskSelection.from_json(store.task(named.name).told("selection", is_table))
        found = [TaskSelection(stored.name, stored.splits, stored.subsets, stored.averaged)]
    else:
        found = of_task(catalogue.text_task(named.name))
    if not named.subsets:
        return found
    return [TaskSelection.of_all(task.name, task.splits, named.subsets) for task in found]


def suite_of_tasks(typed: Sequence[str], store: Store | None = None) -> Suite:
    """The suite of some tasks, named after them.

    Raises what `select_task` raises, UnknownNameError for no tasks, and InvalidInputError for a
    task that is there twice with different data.
    """
    if not typed:
        raise UnknownNameError(
            "A suite of no tasks was asked for. List the suites: actstore suites."
        )
    names = dict.fromkeys(str(parse_task(one)) for one in typed)
    tasks = _each_once(task for name in names for task in select_task(name, store))
    joined = ",".join(names)
    if len(joined) > _LONGEST_NAME:
        joined = (
            f"{next(iter(names))} and {len(names) - 1} more ({zlib.crc32(joined.encode()):08x})"
        )
    return Suite(joined, "Tasks chosen by name", tasks)


def _each_once(tasks: Iterable[TaskSelection]) -> tuple[TaskSelection, ...]:
    found: dict[str, TaskSelection] = {}
    for task in tasks:
        if found.setdefault(task.name, task) != task:
            raise InvalidInputError(
                f"{task.name} is in the list twice, {_in_words(found[task.name])} and "
                f"{_in_words(task)}. Name it once, for instance {task.name}[{task.subsets[0]}]."
            )
    return tuple(found.values())


def _in_words(task: TaskSelection) -> str:
    subsets = f"with {', '.join(task.subsets)}"
    return f"{subsets} as a part of {task.part_of}" if task.part_of else subsets
