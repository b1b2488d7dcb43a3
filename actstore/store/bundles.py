"""Frozen tasks and suites: what an evaluation needs besides the states.

A task bundle holds the task's data as the task uses it and the texts it encodes, call by call, so
that a score can be reproduced without the network, years later.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actstore.refs import look_up
from actstore.store.journal import Json
from actstore.store.storage import Storage, join

_TASKS = "tasks"
_SUITES = "suites"
_MANIFEST = "manifest.json"
_CALLS = "calls"
NO_ROW = -1
"""Stands for an empty text in a task's calls: it has no token, so no model has a state of it."""
_GROUP = "zarr.json"
"""What Zarr keeps in every folder."""


@dataclass(frozen=True)
class TaskBundle:
    """One frozen task."""

    storage: Storage
    name: str
    manifest: dict[str, Any]
    """Written by the evaluation: how the tables fit together, revisions and digests."""

    def calls(self) -> pa.Table:
        """What the task encodes, in order: columns split, subset, prompt_type, rows."""
        return self.table(_CALLS)

    def table(self, name: str) -> pa.Table:
        """One of the task's tables."""
        data = self.storage.read(join(_TASKS, self.name, f"{name}.parquet"))
        return pq.read_table(io.BytesIO(data))

    def rows(self) -> NDArray[np.int64]:
        """The rows of all texts the task uses, each once, in order of first use."""
        rows = self.calls()["rows"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
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
    for table_name, table in {**tables, _CALLS: calls}.items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        storage.replace(join(_TASKS, name, f"{table_name}.parquet"), buffer.getbuffer())
    _write_json(storage, join(_TASKS, name, _MANIFEST), manifest)


def tasks(storage: Storage) -> list[str]:
    """The tasks that are frozen in a store."""
    return [n for n in storage.names(_TASKS) if storage.exists(join(_TASKS, n, _MANIFEST))]


def task(storage: Storage, name: str) -> TaskBundle:
    """A frozen task. Raises UnknownNameError."""
    listing = (
        f"List: actstore info {storage.url}. Add: actstore collect {storage.url} --suite {name}"
    )
    look_up("task in this store", name, tasks(storage), listing)
    manifest = json.loads(storage.read(join(_TASKS, name, _MANIFEST)))
    return TaskBundle(storage, name, manifest)


def write_suite(storage: Storage, name: str, definition: Mapping[str, Json]) -> None:
    """Keep a suite's definition beside the tasks it names."""
    _write_json(storage, _suite_key(name), definition)


def suites(storage: Storage) -> list[str]:
    """The suites that were collected into a store."""
    names = [n for n in storage.names(_SUITES) if n.endswith(".json") and n != _GROUP]
    return sorted(unquote(name.removesuffix(".json")) for name in names)


def suite(storage: Storage, name: str) -> dict[str, Any]:
    """A collected suite's definition. Raises UnknownNameError."""
    look_up("suite in this store", name, suites(storage), f"List: actstore info {storage.url}")
    return cast(dict[str, Any], json.loads(storage.read(_suite_key(name))))


def _suite_key(name: str) -> str:
    """Where a suite is: names may hold slashes (`MTEB(Retrieval w/Instructions)`), keys not."""
    file = name.replace("%", "%25").replace("/", "%2F") + ".json"
    return join(_SUITES, file if file != _GROUP else "%7Aarr.json")


def _write_json(storage: Storage, key: str, value: Mapping[str, Json]) -> None:
    storage.replace(key, json.dumps(value, indent=1, sort_keys=True).encode())
