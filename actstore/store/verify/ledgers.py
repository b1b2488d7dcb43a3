"""What the ledgers record, also where some of their lines are damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actstore.store import journal
from actstore.store.ledger import Commit, counting

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup


@dataclass(frozen=True)
class Recorded:
    """A checkpoint and the shards that its ledger records."""

    group: CheckpointGroup
    commits: tuple[Commit, ...]

    def by_array(self) -> dict[tuple[str, str, str], set[int]]:
        """The shards of each array, by model, checkpoint and array."""
        found: dict[tuple[str, str, str], set[int]] = {}
        for commit in self.commits:
            key = self.group.model, self.group.checkpoint, commit.array
            found.setdefault(key, set()).add(commit.shard)
        return found


def recorded(group: CheckpointGroup) -> Recorded:
    """What a ledger says in the lines that pass their checksum; the others are a problem named."""
    ledger = group.ledger
    records = sorted(_sound(group, ledger.folder), key=lambda record: float(record["at"]))
    counted = counting(records, _sound(group, ledger.removed_folder))
    return Recorded(group, tuple(Commit.of(record) for record in counted))


def _sound(group: CheckpointGroup, folder: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for key, lines in journal.journals(group.storage, folder, check=False):
        bad = set(journal.damaged_lines(key, lines))
        for number, line in enumerate(lines.split(b"\n")[:-1], start=1):
            if number not in bad:
                records.append(json.loads(line))
    return records
