"""What a suite is: tasks, and which of their data are run and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actstore.store import Json


@dataclass(frozen=True)
class TaskSelection:
    """One task of a suite and which of its data count."""

    name: str
    splits: tuple[str, ...]
    subsets: tuple[str, ...]
    averaged: tuple[tuple[str, str], ...]
    """The (split, subset) entries whose mean is the task's score."""

    @classmethod
    def of_all(cls, name: str, splits: Sequence[str], subsets: Sequence[str]) -> TaskSelection:
        """A task whose score is the mean over all splits and subsets that are run."""
        entries = tuple((split, subset) for split in splits for subset in subsets)
        return cls(name, tuple(splits), tuple(subsets), entries)

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "splits": list(self.splits),
            "subsets": list(self.subsets),
            "averaged": [list(entry) for entry in self.averaged],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TaskSelection:
        averaged = tuple((split, subset) for split, subset in value["averaged"])
        return cls(value["name"], tuple(value["splits"]), tuple(value["subsets"]), averaged)


@dataclass(frozen=True)
class Suite:
    """A named list of tasks."""

    name: str
    description: str
    tasks: tuple[TaskSelection, ...]

    def to_json(self) -> dict[str, Json]:
        tasks: list[Json] = [task.to_json() for task in self.tasks]
        return {"name": self.name, "description": self.description, "tasks": tasks}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Suite:
        tasks = tuple(TaskSelection.from_json(task) for task in value["tasks"])
        return cls(value["name"], value["description"], tasks)
