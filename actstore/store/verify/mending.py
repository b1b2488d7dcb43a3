"""Removing what is damaged, so that a command makes it again; nothing else is ever removed.

Safe while workers run: an object that a worker would write is removed under that worker's lease,
and only if it is damaged still when it is looked at once more. A shard that is missing then counts
as to do, and whoever comes first makes it again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records import journal
from actstore.store.records.ledger import remove_object
from actstore.store.sharing.leases import Leases, live_leases
from actstore.store.sharing.processes import MOST_PID, host_name
from actstore.store.sharing.sweeping import leftovers, sweep
from actstore.store.storage import Storage
from actstore.store.verify.finding import FOLDERS, Check, Found
from actstore.store.verify.report import Repaired

_JOURNAL = ".jsonl"
_WRITER = re.compile(r"(?P<host>[^/]+)-(?P<pid>\d+)-[0-9a-f]{8}[^/]*$")
_SECONDS = 60.0
_DIGITS = 12


def mend(storage: Storage, damaged: Sequence[tuple[Check, Found]]) -> tuple[Repaired, ...]:
    """Remove what is made again, damaged lines of journals, and what killed writers left."""
    swept = [Repaired(one.key, "removed: a killed writer's") for one in leftovers(storage)]
    sweep(storage)
    with Leases(storage, seconds=_SECONDS) as leases:
        remade = [(check, found) for check, found in damaged if found.damage.remade]
        return (*swept, *(_mended(storage, leases, check, found) for check, found in remade))


def _mended(storage: Storage, leases: Leases, check: Check, found: Found) -> Repaired:
    key = found.damage.key
    if key.endswith(_JOURNAL):
        return Repaired(key, _without_damaged_lines(storage, key))
    lease = leases.claim(check.unit) if check.unit else None
    if check.unit and lease is None:
        return Repaired(key, "left alone: a worker is writing it; verify again when it is done")
    try:
        if all(again.damage.key != key for again in check.run()):
            return Repaired(key, "left alone: it has been made again meanwhile")
        remove_object(storage, key)
        if found.array == FOLDERS:
            write_group(storage, key.removesuffix(f"/{DOCUMENT}"), {})
            return Repaired(key, "written anew")
    finally:
        if lease is not None:
            lease.release()
    return Repaired(key, "removed")


def _without_damaged_lines(storage: Storage, key: str) -> str:
    """Rewrite a journal, unless the process that appends to it may still do so."""
    if _writer_lives(storage, key):
        return "left alone: the process that writes it is running; verify again when it has ended"
    data = storage.read(key)
    bad = set(journal.damaged_lines(key, data))
    lines = data.split(b"\n")[:-1]
    sound = [line for number, line in enumerate(lines, start=1) if number not in bad]
    storage.replace(key, b"".join(line + b"\n" for line in sound))
    return f"{len(bad)} damaged lines removed, {len(sound)} kept"


def _writer_lives(storage: Storage, key: str) -> bool:
    """Whether the process that a journal is named after may still append to it.

    Of another machine's it is known by its leases alone.
    """
    writer = _WRITER.search(key)
    if writer is None:
        return False
    host, pid = writer["host"].rpartition("/")[2], int(writer["pid"][:_DIGITS])
    if not 0 < pid <= MOST_PID:
        return False
    if host == host_name():
        return pid != os.getpid() and _runs_here(pid)
    return any((lease.host, lease.pid) == (host, pid) for lease in live_leases(storage))


def _runs_here(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
