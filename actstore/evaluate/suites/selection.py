"""What a suite is: tasks, and which of their data are run and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actstore.errors import CorruptShardError
from actstore.store import Json
from actstore.store.records.documents import (
    Fields,
    is_file_name,
    is_pair,
    is_text,
    list_of,
    wrong_field,
)

_FIELDS: Fields = {
    "name": is_file_name,
    "splits": list_of(is_text),
    "subsets": list_of(is_text),
    "averaged": list_of(is_pair),
}


@dataclass(frozen=True)
class TaskSelection:
    """One task of a suite and which of its data count."""

    name: str
    splits: tuple[str, ...]
    subsets: tuple[str, ...]
    averaged: tuple[tuple[str, str], ...]
    """The (split, subset) entries whose mean is the task's score."""
    part_of: str = ""
    """The aggregate task (CQADupstackRetrieval) whose score is the mean over this and its others.

    A suite's mean counts the aggregate once, not each of its parts.
    """

    @classmethod
    def of_all(
        cls, name: str, splits: Sequence[str], subsets: Sequence[str], part_of: str = ""
    ) -> TaskSelection:
        """A task whose score is the mean over all splits and subsets that are run."""
        entries = tuple((split, subset) for split in splits for subset in subsets)
        return cls(name, tuple(splits), tuple(subsets), entries, part_of)

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "splits": list(self.splits),
            "subsets": list(self.subsets),
            "averaged": [list(entry) for entry in self.averaged],
            "part_of": self.part_of,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TaskSelection:
        if what := wrong_field(value, _FIELDS):
            raise CorruptShardError(
                f"A task of a store is damaged: {what}. Run: actstore verify STORE"
            )
        return cls(
            name=value["name"],
            splits=tuple(value["splits"]),
            subsets=tuple(value["subsets"]),
            averaged=tuple((split, subset) for split, subset in value["averaged"]),
            part_of=str(value.get("part_of") or ""),
        )


@dataclass(frozen=True)
class Suite:
    """A named list of tasks."""

    name: str
    description: str
    tasks: tuple[TaskSelection, ...]

    @property
    def n_scores(self) -> int:
        """How many scores the suite's mean is over: an aggregate's parts have one together."""
        return len({task.part_of or task.name for task in self.tasks})

    def to_json(self) -> dict[str, Json]:
        tasks: list[Json] = [task.to_json() for task in self.tasks]
        return {"name": self.name, "description": self.description, "tasks": tasks}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Suite:
        tasks = tuple(TaskSelection.from_json(task) for task in value["tasks"])
        return cls(str(value.get("name", "")), str(value.get("description", "")), tasks)
