"""Journals: append-only JSON lines, one file for each process that writes.

No two processes share a file, so nothing needs a lock. A line that a killed process left torn is
not a record: what it spoke of was not committed.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from functools import cache

from actstore.errors import CorruptShardError
from actstore.store.storage import Storage, join

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def append_records(storage: Storage, folder: str, records: list[dict[str, Json]]) -> None:
    """Add records to this process's journal in a folder; durable when the call returns."""
    now = time.time()
    lines = [json.dumps({"at": now, **record}, allow_nan=True) for record in records]
    if lines:
        key = join(folder, f"{_writer(os.getpid())}.jsonl")
        storage.append(key, ("\n".join(lines) + "\n").encode())


def read_records(storage: Storage, folder: str) -> list[dict[str, Json]]:
    """All records of all journals in a folder, oldest first."""
    records: list[dict[str, Json]] = []
    for name in storage.names(folder):
        if name.endswith(".jsonl"):
            key = join(folder, name)
            records.extend(_whole_lines(key, storage.read(key)))
    return sorted(records, key=lambda record: float(record["at"]))  # type: ignore[arg-type]


def _whole_lines(key: str, data: bytes) -> list[dict[str, Json]]:
    """The records of one journal, less a last line that a killed process left torn."""
    *lines, _torn = data.split(b"\n")
    try:
        records: list[dict[str, Json]] = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError as error:
        raise CorruptShardError(
            f"{key} is damaged: {error}. Restore it from a copy, or delete it: the shards that "
            "only it records are then extracted again."
        ) from error
    return records


@cache
def _writer(pid: int) -> str:
    """A name no other process has, on any node: a forked child gets one of its own."""
    return f"{socket.gethostname().split('.')[0]}-{pid}-{uuid.uuid4().hex[:8]}"
