"""From what was found to what is said: whom it concerns, and what repairs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from actstore.errors import ActstoreError
from actstore.store.records.ledger import Commit
from actstore.store.schema import TEXT_VALUES
from actstore.store.verify.affected import Span, Users
from actstore.store.verify.finding import ALL_CHUNKS, FOLDERS, Found
from actstore.store.verify.remedies import Past, Remedy, remedy_of, repair, restore
from actstore.store.verify.report import Problem

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup

Shards = Mapping[tuple[str, str, str], set[int]]
"""By model, checkpoint and array."""


@dataclass(frozen=True)
class Judge:
    """Says of findings what they mean to the user."""

    url: str
    users: Users
    past: Past
    committed: Shards
    """All that the ledgers record."""

    def problems(self, found: Sequence[Found]) -> tuple[Problem, ...]:
        """A problem for each finding, in their order."""
        damaged: dict[tuple[str, str, str], set[int]] = {}
        for one in found:
            if one.commit is not None:
                damaged.setdefault(_array_of(one), set()).add(one.commit.shard)
        remedies: dict[tuple[str, str, str], Remedy] = {}
        for one in found:
            known = one.array == FOLDERS or _array_of(one) in remedies
            if one.group is not None and not known:
                remedies[_array_of(one)] = self._remedy(one, damaged)
        return tuple(self._problem(one, remedies.get(_array_of(one))) for one in found)

    def _remedy(self, one: Found, damaged: Shards) -> Remedy:
        assert one.group is not None
        suite = ""
        if one.commit is not None and not one.array.startswith("tokens/"):
            shards = damaged[_array_of(one)], self.committed[_array_of(one)]
            suite = self.users.suite_of(*shards, one.group.layout.rows_per_shard)
        array = "head" if one.array == "vocabulary" else one.array
        return remedy_of(one.group, array, self.past, suite)

    def _problem(self, one: Found, remedy: Remedy | None) -> Problem:
        damage, spans = one.damage, _spans(one)
        in_sample = one.array.startswith("tokens/")
        layers = () if one.group is None else tuple(_layers(one.group, one))
        return Problem(
            key=damage.key,
            what=damage.what,
            array=one.array,
            remade=damage.remade,
            command=self._command(one, remedy),
            model=one.model,
            checkpoint=one.checkpoint,
            rows=one.commit.rows if one.commit else None,
            layers=layers,
            n_texts=_texts_of_sample(one, spans) if in_sample else self.users.n_texts(spans),
            tasks=() if in_sample else self.users.tasks(spans),
            remedy=remedy if damage.remade and not one.command else None,
        )

    def _command(self, one: Found, remedy: Remedy | None) -> str:
        if not one.damage.remade:
            return restore(one.damage.key)
        if one.command:
            said = one.command.startswith(repair(self.url))
            return one.command if said else f"{repair(self.url)} && {one.command}"
        return remedy.command() if remedy else repair(self.url)


def _array_of(one: Found) -> tuple[str, str, str]:
    return one.model, one.checkpoint, one.array


def _layers(group: CheckpointGroup, one: Found) -> Iterable[int]:
    return [group.layers[index] for index in sorted({layer for layer, _ in one.chunks})]


def _spans(one: Found) -> list[Span]:
    """The rows in the damaged chunks of a shard, in ranges that do not touch."""
    if one.commit is None or not one.chunks:
        return []
    numbers = sorted({number for _, number in one.chunks})
    if numbers[0] == ALL_CHUNKS or one.group is None:
        return [one.commit.rows]
    size, start = _rows_per_chunk(one.group, one.commit), one.commit.rows[0]
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    chunks = [[number for _, number in run] for _, run in runs]
    return [(start + run[0] * size, start + (run[-1] + 1) * size) for run in chunks]


def _rows_per_chunk(group: CheckpointGroup, commit: Commit) -> int:
    if commit.array in TEXT_VALUES:
        return group.layout.rows_per_shard
    if not commit.array.startswith("tokens/"):
        return group.layout.rows_per_chunk
    return group.token_sample(commit.array.split("/")[1]).layout.rows_per_chunk


def _texts_of_sample(one: Found, spans: Sequence[Span]) -> int:
    """How many texts of a token sample have tokens in some ranges."""
    if one.group is None or not spans:
        return 0
    try:
        rows = one.group.token_sample(one.array.split("/")[1]).row
    except (ActstoreError, OSError):
        return 0
    inside = np.concatenate([rows[start:stop] for start, stop in spans])
    return len(np.unique(inside[inside >= 0]))
