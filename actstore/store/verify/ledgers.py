"""What the ledgers record, also where some of their lines are damaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actstore.store.records import journal
from actstore.store.records.documents import Fields, damaged, is_finite, parse, wrong_field
from actstore.store.records.ledger import RECORD, REMOVAL, Commit, counting

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
    records = sorted(_sound(group, ledger.folder, RECORD), key=lambda record: float(record["at"]))
    counted = counting(records, _sound(group, ledger.removed_folder, REMOVAL))
    return Recorded(group, tuple(Commit.of(record) for record in counted))


def _sound(group: CheckpointGroup, folder: str, fields: Fields) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for key, lines in journal.journals(group.storage, folder, check=False):
        bad = set(journal.damaged_lines(key, lines))
        for number, line in enumerate(lines.split(b"\n")[:-1], start=1):
            if number not in bad:
                records.append(_record(group, key, line, fields))
    return records


def _record(group: CheckpointGroup, key: str, line: bytes, fields: Fields) -> dict[str, Any]:
    """A line whose checksum is right. Raises CorruptShardError if it is no record all the same."""
    try:
        record: dict[str, Any] = parse(line)
    except (ValueError, RecursionError) as error:
        raise damaged(group.storage, key, error) from error
    if what := wrong_field(record, {"at": is_finite, **fields}):
        raise damaged(group.storage, key, what)
    return record
