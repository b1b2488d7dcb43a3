"""Sweeping: what writers that were killed left in a store is removed, what live ones write is not.

An unfinished file says which process writes it. One of a process that has ended here is swept at
once; one of another machine, whose processes cannot be seen, after a day without a change. Nothing
reads such files, so they cost space alone. Parts of uploads that an object store keeps are not
listed among its objects: a lifecycle rule of the bucket ends them (docs/durability.md).
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from actstore.errors import StorageError
from actstore.store.storage import LocalStorage, Storage
from actstore.store.storage.unfinished import writer_of

_DAY = 24 * 3600.0
"""Seconds; no write of one object takes so long, and no clocks differ so much."""


@dataclass(frozen=True)
class Leftover:
    """A file that a writer left unfinished."""

    key: str
    size: int
    """Bytes."""
    age: float
    """Seconds since it was last changed."""


def leftovers(storage: Storage, prefix: str = "", *, older: float = _DAY) -> list[Leftover]:
    """What dead writers left below a prefix, or in the whole store, by key.

    older: seconds after which a file counts whose writer cannot be looked up from here.
    """
    if not isinstance(storage, LocalStorage):
        return []
    found, now = [], time.time()
    for path in storage.unfinished(prefix):
        with suppress(FileNotFoundError):  # finished, or swept by another, meanwhile
            stat, writer = path.stat(), writer_of(path.name)
            age = now - stat.st_mtime
            if age > older or (writer is not None and writer.is_dead()):
                key = path.relative_to(storage.root).as_posix()
                found.append(Leftover(key, stat.st_size, age))
    return sorted(found, key=lambda one: one.key)


def sweep(storage: Storage, prefix: str = "", *, older: float = _DAY) -> int:
    """Remove what `leftovers` finds; how many files that were. What may not be removed stays."""
    removed = 0
    for one in leftovers(storage, prefix, older=older):
        with suppress(StorageError):  # another user's, for instance
            storage.delete(one.key)
            removed += 1
    return removed
