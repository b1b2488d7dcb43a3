"""Frozen tasks and suites: what an evaluation needs besides the states.

A task bundle holds the task's data as the task uses it and the texts it encodes, call by call, so
that a score can be reproduced without the network, years later.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any, cast
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.refs import look_up
from actstore.store.records.damage import Damage
from actstore.store.records.documents import (
    Fields,
    Is,
    having,
    is_file_name,
    is_text,
    list_of,
    require_fields,
    table_of,
    whole_from,
)
from actstore.store.records.journal import Json
from actstore.store.records.ledger import digest
from actstore.store.records.parquet import NO_COLUMNS, is_rows, parse_table
from actstore.store.records.parquet import is_text as holds_text
from actstore.store.records.sealing import read_sealed_json, seal_damage, sealed_json
from actstore.store.storage import Buffer, Storage, each, join

_TASKS = "tasks"
_SUITES = "suites"
_MANIFEST = "manifest.json"
_CALLS = "calls"
_FILES = "files"
"""The manifest's field that says what each table's file is."""
NO_ROW = -1
"""Stands for an empty text in a task's calls: it has no token, so no model has a state of it."""
_CALL_COLUMNS = {"split": holds_text, "subset": holds_text, "rows": is_rows}
_FILE = having({"bytes": whole_from(0), "digest": is_text})
_MANIFEST_FIELDS: Fields = {_FILES: table_of(_FILE, names=is_file_name)}
_TASK: Fields = {"name": is_file_name}
_SUITE: Fields = {"tasks": list_of(having(_TASK))}
_GROUP = "zarr.json"
"""What Zarr keeps in every folder."""


@dataclass(frozen=True)
class TaskBundle:
    """One frozen task."""

    storage: Storage
    name: str
    manifest: dict[str, Any]
    """Written by the evaluation: how the tables fit together, revisions and digests."""
    files: Mapping[str, Mapping[str, Json]]
    """What was written of each table: `bytes` and `digest`."""

    def told(self, name: str, is_right: Is) -> Any:
        """A field of the manifest. Raises CorruptShardError unless it is there and right."""
        return require_fields(
            self.storage, _manifest_key(self.name), self.manifest, {name: is_right}
        )[name]

    def calls(self) -> pa.Table:
        """What the task encodes, in order: columns split, subset, prompt_type, rows."""
        return self.table(_CALLS)

    def table(self, name: str) -> pa.Table:
        """One of the task's tables. Raises CorruptShardError unless it is the one frozen."""
        key = _table_key(self.name, name)
        try:
            data = self.storage.read(key)
        except FileNotFoundError:
            raise _damaged(self.storage, self.name, f"{key} is missing") from None
        if self.files.get(name) != _told(data):
            raise _damaged(self.storage, self.name, f"{key} is not the table that was frozen")
        required = _CALL_COLUMNS if name == _CALLS else NO_COLUMNS
        return parse_table(self.storage, key, data, required=required)

    def rows(self) -> NDArray[np.int64]:
        """The rows of all texts the task uses, each once, in order of first use."""
        flat = self.calls()["rows"].combine_chunks().flatten()
        if flat.null_count:
            raise _damaged(self.storage, self.name, "its calls name no row")
        rows = flat.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        rows = rows[rows != NO_ROW]
        _, first = np.unique(rows, return_index=True)
        return cast(NDArray[np.int64], rows[np.sort(first)])


def write_task(
    storage: Storage,
    name: str,
    manifest: Mapping[str, Json],
    calls: pa.Table,
    tables: Mapping[str, pa.Table],
) -> None:
    """Freeze a task. It exists once its manifest is written, last."""
    files: dict[str, Json] = {}
    for table_name, table in {**tables, _CALLS: calls}.items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        storage.replace(_table_key(name, table_name), buffer.getbuffer())
        files[table_name] = _told(buffer.getbuffer())
    key = _manifest_key(name)
    storage.replace(key, sealed_json(key, {**manifest, _FILES: files}))


def tasks(storage: Storage) -> list[str]:
    """The tasks that are frozen in a store."""
    names = storage.names(_TASKS)
    frozen = each(storage, lambda name: storage.exists(_manifest_key(name)), names)
    return [name for name, is_frozen in zip(names, frozen, strict=True) if is_frozen]


def task(storage: Storage, name: str) -> TaskBundle:
    """A frozen task. Raises UnknownNameError, CorruptShardError for a damaged manifest."""
    listing = (
        f"List: actstore info {storage.url}. Add: actstore collect {storage.url} "
        f"--suite {quote(name)}"
    )
    if not name or not storage.exists(_manifest_key(name)):
        look_up("task in this store", name, tasks(storage), listing)
    manifest = read_sealed_json(storage, _manifest_key(name), _MANIFEST_FIELDS)
    files = manifest.pop(_FILES)
    return TaskBundle(storage, name, manifest, files)


def write_suite(storage: Storage, name: str, definition: Mapping[str, Json]) -> None:
    """Keep a suite's definition beside the tasks it names."""
    storage.replace(_suite_key(name), sealed_json(_suite_key(name), definition))


def suites(storage: Storage) -> list[str]:
    """The suites that were collected into a store."""
    names = [n for n in storage.names(_SUITES) if n.endswith(".json") and n != _GROUP]
    return sorted(unquote(name.removesuffix(".json")) for name in names)


def suite(storage: Storage, name: str) -> dict[str, Any]:
    """A collected suite's definition. Raises UnknownNameError, CorruptShardError."""
    look_up("suite in this store", name, suites(storage), f"List: actstore info {storage.url}")
    return read_sealed_json(storage, _suite_key(name), _SUITE)


def damage(storage: Storage, *, quick: bool) -> Iterator[Damage]:
    """What is wrong with the frozen tasks and the suites; collecting makes them again.

    A task of which a table is damaged counts as frozen as long as it has a manifest: that is named
    as well.
    """
    for name in tasks(storage):
        found = [*_task_damage(storage, name, quick=quick)]
        yield from found
        manifest = _manifest_key(name)
        if found and found[0].key != manifest:
            yield Damage(manifest, "it is of a task of which a table is damaged", remade=True)
    for name in suites(storage):
        yield from seal_damage(storage, _suite_key(name), quick=quick, remade=True)


def _task_damage(storage: Storage, name: str, *, quick: bool) -> Iterator[Damage]:
    try:
        files = read_sealed_json(storage, _manifest_key(name), _MANIFEST_FIELDS)[_FILES]
    except CorruptShardError:
        yield from seal_damage(storage, _manifest_key(name), quick=quick, remade=True)
        return
    for table, told in files.items():
        key = _table_key(name, table)
        try:
            what = _differs(storage, key, told, quick=quick)
        except FileNotFoundError:
            what = "it is missing"
        if what:
            yield Damage(key, what, remade=True)


def _differs(storage: Storage, key: str, told: Mapping[str, Json], *, quick: bool) -> str:
    """How a table differs from the one that was frozen; empty if it does not."""
    with storage.open(key) as reader:
        if reader.size != told["bytes"]:
            return f"it has {reader.size} bytes, {told['bytes']} were written"
    altered = not quick and _told(storage.read(key)) != told
    return "it is not the table that was frozen" if altered else ""


def _told(data: Buffer) -> dict[str, Json]:
    """What a manifest says of a table's file."""
    return {"bytes": len(data), "digest": digest(data)}


def _damaged(storage: Storage, name: str, what: str) -> CorruptShardError:
    return CorruptShardError(
        f"The task {name} of {storage.url} is damaged: {what}. Run: actstore verify {storage.url} "
        f"--repair && actstore collect {storage.url} --suite {quote(name)}"
    )


def _manifest_key(name: str) -> str:
    return join(_TASKS, name, _MANIFEST)


def _table_key(name: str, table: str) -> str:
    return join(_TASKS, name, f"{table}.parquet")


def _suite_key(name: str) -> str:
    """Where a suite is: names may hold slashes (`MTEB(Retrieval w/Instructions)`), keys not."""
    file = name.replace("%", "%25").replace("/", "%2F") + ".json"
    return join(_SUITES, file if file != _GROUP else "%7Aarr.json")
