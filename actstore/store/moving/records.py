"""Records of journals: what one store has of them and another lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from actstore.store.records.journal import append_records, journals, read_records
from actstore.store.storage import Storage

Record = dict[str, Any]
_AT_ONCE = 10_000
_CHECKSUM = "crc32c"


def add_records(
    source: Storage,
    target: Storage,
    folder: str,
    change: Callable[[Record], Record | None] = lambda record: record,
) -> int:
    """Append to a target's journals the records that only the source has; how many there were.

    They keep their times, so that the latest of several about the same thing is still the latest.
    change: what becomes of a record; None: it is left out.
    """
    changed = (change(plain(record)) for record in read_records(source, folder))
    wanted = [record for record in changed if record is not None]
    if not wanted:
        return 0
    there = {_canonical(plain(record)) for record in read_records(target, folder)}
    new = [record for record in wanted if _canonical(record) not in there]
    for start in range(0, len(new), _AT_ONCE):
        append_records(target, folder, new[start : start + _AT_ONCE])
    return len(new)


def plain(record: Record) -> Record:
    """A record as it was given to the journal, with its time."""
    return {name: value for name, value in record.items() if name != _CHECKSUM}


def _canonical(record: Record) -> str:
    return json.dumps(record, sort_keys=True)


def remove_records(storage: Storage, folder: str, meant: Callable[[Record], bool]) -> int:
    """Rewrite a folder's journals without some records; how many there were.

    No other process may be writing to them. Each journal is replaced whole: after a crash some have
    lost their records and others have not.
    """
    removed = 0
    for key, data in list(journals(storage, folder)):
        lines = data.splitlines(keepends=True)
        kept = [line for line in lines if not meant(json.loads(line))]
        if len(kept) == len(lines):
            continue
        removed += len(lines) - len(kept)
        if kept:
            storage.replace(key, b"".join(kept))
        else:
            storage.delete(key)
    return removed
