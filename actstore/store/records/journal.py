"""Journals: append-only JSON lines, one file for each process that writes.

No two processes share a file, so nothing needs a lock. A line that a killed process left torn is
not a record: what it spoke of was not committed. The last field of every line is the crc32c of the
folder's name and of what stands before it, so that a journal of another kind or checkpoint, copied
here, fails it.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from functools import cache
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.json as pj

from actstore.errors import CorruptShardError
from actstore.store.records.damage import Damage
from actstore.store.records.documents import NO_FIELDS, Fields, is_finite, is_shallow, wrong_field
from actstore.store.storage import Storage, join

_NO_OBJECT = re.compile(rb"\n[^{]|\r")
_NO_JSON = (pa.ArrowException, ValueError)
_CHECKSUM = len(', "crc32c": "00000000"}')
"""Bytes that end a line."""
_ENDING = ".jsonl"
_NAMED = 5
"""Damaged lines of one journal that are named."""

_PART_BYTES = 256 << 10
"""To put so many takes about as long as to put one."""
_added: dict[tuple[str, str, str], int] = {}
"""Bytes that this process added to a journal: by storage, folder and writer."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def append_records(storage: Storage, folder: str, records: list[dict[str, Json]]) -> None:
    """Add records to this process's journal in a folder; durable when the call returns."""
    now = time.time()
    lines = [json.dumps({"at": now, **record}, allow_nan=True) for record in records]
    if lines:
        seed = _seed(folder)
        data = b"".join(_with_checksum(line.encode(), seed) for line in lines)
        try:
            storage.append(_key(storage, folder, len(data)), data)
        except OSError:
            _writer.cache_clear()  # half a line may stand there, which no other may follow
            raise


def read_records(storage: Storage, folder: str, fields: Fields = NO_FIELDS) -> list[dict[str, Any]]:
    """All records of all journals in a folder, oldest first.

    fields: that each must have, besides its time. Raises CorruptShardError.
    """
    records: list[dict[str, Any]] = []
    for key, lines in journals(storage, folder):
        records.extend(_parsed(key, lines, {"at": is_finite, **fields}))
    return sorted(records, key=lambda record: float(record["at"]))


def read_fields(
    storage: Storage, folder: str, fields: pa.Schema, *, check: bool = False
) -> pa.Table:
    """Some fields of all records of all journals in a folder, in no order; null where one lacks it.

    A small part of the time and memory of `read_records`: what is not asked for is not made, and
    checksums are not looked at. That will do for counting; check: for what is then believed.
    """
    lines_by_key = dict(journals(storage, folder, check=check))
    try:
        return _fields_of(b"".join(lines_by_key.values()), fields)
    except _NO_JSON as whole:
        for key, lines in lines_by_key.items():
            try:
                _fields_of(lines, fields)
            except _NO_JSON as error:
                raise _damaged(key, error) from error
        raise _damaged(folder, whole) from whole


def journals(storage: Storage, folder: str, *, check: bool = True) -> Iterator[tuple[str, bytes]]:
    """Each journal's key and lines, less a last one that a killed process left torn.

    check: raise CorruptShardError for a line that fails its checksum.
    """
    for name in storage.names(folder):
        if name.endswith(_ENDING):
            key = join(folder, name)
            data = storage.read(key)
            lines = data[: data.rfind(b"\n") + 1]
            if check:
                _check(key, lines)
            if lines:
                yield key, lines


def damage(storage: Storage, folder: str) -> Iterator[Damage]:
    """The journals of a folder that have a line which fails its checksum.

    What only such a line records is done again once it is gone. A line that a killed process left
    torn at the end is no damage.
    """
    for name in storage.names(folder):
        if name.endswith(_ENDING):
            key = join(folder, name)
            bad = damaged_lines(key, storage.read(key))
            if bad:
                lines = ", ".join(str(number) for number in bad[:_NAMED])
                more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
                yield Damage(key, f"line {lines}{more} fails its checksum", remade=True)


def damaged_lines(key: str, data: bytes) -> list[int]:
    """The lines of a journal that fail their checksum, counted from 1."""
    seed = _seed(key.rpartition("/")[0])
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    return [number for number, line in enumerate(lines, start=1) if not _is_sound(line, seed)]


def _is_sound(line: bytes, seed: int) -> bool:
    body = line[:-_CHECKSUM]
    return line[-_CHECKSUM:] == b', "crc32c": "%08x"}' % google_crc32c.extend(seed, body)


def _seed(folder: str) -> int:
    return int(google_crc32c.value(folder.encode()))


def _key(storage: Storage, folder: str, n_bytes: int) -> str:
    """Where this process adds the next bytes of its journal in a folder.

    Where every append writes the whole object anew, a journal goes on in another one after each
    part: thousands of appends would cost the square of their bytes otherwise.
    """
    writer = _writer(os.getpid())
    if not storage.rewrites_to_append:
        return join(folder, f"{writer}{_ENDING}")
    journal = (storage.url, folder, writer)
    before = _added.get(journal, 0)
    _added[journal] = before + n_bytes
    return join(folder, f"{writer}.{before // _PART_BYTES}{_ENDING}")


def _with_checksum(line: bytes, seed: int) -> bytes:
    """A line of JSON, which ends with `}`, with its checksum as the last field."""
    body = line[:-1]
    return b'%s, "crc32c": "%08x"}\n' % (body, google_crc32c.extend(seed, body))


def _check(key: str, lines: bytes) -> None:
    for number in damaged_lines(key, lines):
        raise _damaged(key, f"line {number} fails its checksum")


def _parsed(key: str, lines: bytes, fields: Fields) -> list[dict[str, Any]]:
    if not all(map(is_shallow, lines.splitlines())):
        raise _damaged(key, "too many lists are inside one another")
    try:
        records: list[dict[str, Any]] = json.loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]")
    except (ValueError, RecursionError) as error:
        raise _damaged(key, error) from error
    for number, record in enumerate(records, start=1):
        if what := wrong_field(record, fields):
            raise _damaged(key, f"line {number}: {what}")
    return records


def require_objects(lines: bytes) -> None:
    """Raise ValueError unless lines are UTF-8, and each begins as a JSON object does.

    pyarrow looks at neither, and takes the process down over a journal that says `null`.
    """
    lines.decode()
    if not lines.startswith(b"{") or _NO_OBJECT.search(lines):
        raise ValueError("it has a line that is no JSON object")


def _fields_of(lines: bytes, fields: pa.Schema) -> pa.Table:
    if not lines:
        return fields.empty_table()
    require_objects(lines)
    parse = pj.ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore")
    read = pj.ReadOptions(use_threads=False, block_size=min(len(lines), 1 << 24))
    return pj.read_json(io.BytesIO(lines), read_options=read, parse_options=parse)


def _damaged(key: str, error: object) -> CorruptShardError:
    return CorruptShardError(
        f"{key} is damaged: {error}. Restore it from a copy, or delete it: what only it records "
        "is then to be done again."
    )


@cache
def _writer(pid: int) -> str:
    """A name no other process has, on any node: a forked child gets one of its own."""
    return f"{socket.gethostname().split('.')[0]}-{pid}-{uuid.uuid4().hex[:8]}"
