"""A store of which some objects are other bytes, sealed as if they had been written so.

Seals and checksums tell damage; who means harm seals what was altered. So the readers behind them
are tried with everything that can stand in a sealed object.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actstore.errors import CorruptShardError
from actstore.store.arrays import zarr_metadata
from actstore.store.records import journal, sealing
from actstore.store.records.ledger import digest
from actstore.store.storage import LocalStorage, Reader


class AlteredStorage(LocalStorage):
    """A folder, some of whose objects are read as other bytes."""

    def __init__(self, root: Path, altered: Mapping[str, bytes]) -> None:
        super().__init__(root)
        self.altered = altered

    def exists(self, key: str) -> bool:
        return key in self.altered or super().exists(key)

    def read(self, key: str) -> bytes:
        return self.altered[key] if key in self.altered else super().read(key)

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        if key in self.altered:
            yield _Held(self.altered[key])
        else:
            with super().open(key) as reader:
                yield reader


class _Held:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        part = self.data[offset : offset + len(buffer)]
        if len(part) < len(buffer):
            raise CorruptShardError(f"it ends at byte {self.size}")
        buffer[:] = part


def sealed_like(key: str, document: Any) -> bytes:
    """A document as JSON, with the seal of its kind, where it has room for one."""
    if not isinstance(document, dict):
        return json.dumps(document).encode()
    if key.endswith(zarr_metadata.DOCUMENT):
        return json.dumps(_with_group_seal(key, document)).encode()
    plain = {name: value for name, value in document.items() if name != "seal"}
    return sealing.sealed_json(key, plain)


def _with_group_seal(key: str, document: dict[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes")
    if document.get("node_type") == "array" or not isinstance(attributes, dict):
        return document
    prefix = key.removesuffix(zarr_metadata.DOCUMENT).rstrip("/")
    plain = {name: value for name, value in attributes.items() if name != "seal"}
    return {**document, "attributes": {**plain, "seal": zarr_metadata._digest_of(prefix, plain)}}


def journal_of(key: str, records: list[Any]) -> bytes:
    """Records as the lines of a journal, each with its checksum."""
    seed = journal._seed(key.rpartition("/")[0])
    lines = []
    for record in records:
        data = json.dumps(_plain(record)).encode()
        lines.append(journal._with_checksum(data, seed) if data.endswith(b"}") else data + b"\n")
    return b"".join(lines)


def _plain(record: Any) -> Any:
    if not isinstance(record, dict):
        return record
    return {name: value for name, value in record.items() if name != "crc32c"}


def records_of(data: bytes) -> list[Any]:
    return [_plain(json.loads(line)) for line in data.splitlines()]


def sealed_parquet(key: str, table: pa.Table) -> bytes:
    return sealing.sealed_table(key, table)


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()


def resealed(key: str, data: bytes) -> bytes:
    """Bytes of a sealed file, altered somewhere, with the seal that they should have now."""
    place = data.rfind(sealing._MARK)
    if place < 0 or len(data) < place + sealing._SIZE:
        return data
    blank = data[:place] + sealing._BLANK + data[place + sealing._SIZE :]
    return sealing._sealed(key, blank)


def told(data: bytes) -> dict[str, Any]:
    """What a record says of a file."""
    return {"bytes": len(data), "digest": digest(data)}
