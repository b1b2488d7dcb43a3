"""Seals: a file that is written whole carries a digest of its own bytes and of its key.

So one that was altered, cut short, or copied to the place of another is told from the one that was
written, before anything in it is looked at. The seal stands where each format has room for a word
of ours: the last field of a JSON document, the metadata of a Parquet file, the comment of an npz.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.records.damage import Damage
from actstore.store.records.documents import NO_FIELDS, Fields, damaged, parse_json, require_fields
from actstore.store.records.journal import Json
from actstore.store.records.npz import parse_npz
from actstore.store.records.parquet import NO_COLUMNS, Columns, parse_table
from actstore.store.storage import Buffer, Storage

_MARK = b"xxh3-128:"
_HEX = 32
_SIZE = len(_MARK) + _HEX
_BLANK = _MARK + b"0" * _HEX
"""Stands in a file for the seal that it is to get."""
_FIELD = "seal"
_TAIL = 4096
"""Bytes at the end of a file that has its seal in them."""
_ENDS = {".json": b"}", ".parquet": b"PAR1"}


def sealed_json(key: str, value: Mapping[str, Json]) -> bytes:
    """A JSON document to be written at `key`; the seal is its field `seal`."""
    fields = {**dict(sorted(value.items())), _FIELD: _BLANK.decode()}
    return _sealed(key, json.dumps(fields, indent=1).encode())


def sealed_table(key: str, table: pa.Table, *, rows_together: int | None = None) -> bytes:
    """A Parquet file to be written at `key`, with the table's metadata and the seal behind it.

    rows_together: of a row group; None: pyarrow's choice.
    """
    metadata = {**(table.schema.metadata or {}), _FIELD.encode(): _BLANK}
    plain = table.replace_schema_metadata(None)
    buffer = io.BytesIO()
    # Arrow's own schema, which is not stored, would hold a copy of the metadata.
    with pq.ParquetWriter(buffer, plain.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(plain, row_group_size=rows_together)
        writer.add_key_value_metadata(metadata)
    return _sealed(key, buffer.getvalue())


def sealed_arrays(key: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz to be written at `key`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    archive = buffer.getvalue()
    # A zip ends with its comment, and the two bytes before that say how long it is.
    return _sealed(key, archive[:-2] + _SIZE.to_bytes(2, "little") + _BLANK)


def read_sealed_json(storage: Storage, key: str, fields: Fields = NO_FIELDS) -> dict[str, Any]:
    """A sealed document, less its seal. fields: that it must have.

    Raises FileNotFoundError and CorruptShardError.
    """
    document = parse_json(storage, key, read_sealed(storage, key))
    document.pop(_FIELD, None)
    return require_fields(storage, key, document, fields)


def read_sealed_table(storage: Storage, key: str, columns: Columns = NO_COLUMNS) -> pa.Table:
    """A sealed Parquet file. columns: that it must have.

    Raises FileNotFoundError and CorruptShardError.
    """
    return parse_table(storage, key, read_sealed(storage, key), required=columns)


def read_sealed_arrays(storage: Storage, key: str) -> dict[str, NDArray[Any]]:
    """A sealed npz. Raises FileNotFoundError and CorruptShardError."""
    return parse_npz(storage, key, read_sealed(storage, key))


def read_sealed(storage: Storage, key: str) -> bytes:
    """The bytes of a sealed file. Raises FileNotFoundError, and CorruptShardError for a seal that
    is not theirs, or not of this key."""
    data = storage.read(key)
    place = data.rfind(_MARK)
    if place < 0 or data[place : place + _SIZE] != _seal_of(key, data, place):
        raise damaged(storage, key, "its seal is not that of its bytes in this place")
    return data


def seal_damage(storage: Storage, key: str, *, quick: bool, remade: bool) -> Iterator[Damage]:
    """What is wrong with a sealed file. quick: of its size and end; of JSON, all."""
    try:
        if quick and not key.endswith(".json"):
            what = _cut_short(storage, key)
        else:
            read_sealed(storage, key)
            what = ""
    except FileNotFoundError:
        what = "it is missing"
    except CorruptShardError:
        what = "its seal is not that of its bytes in this place"
    if what:
        yield Damage(key, what, remade)


def _cut_short(storage: Storage, key: str) -> str:
    """What is wrong with a file's end; empty for nothing."""
    with storage.open(key) as reader:
        tail = bytearray(min(reader.size, _TAIL))
        reader.read_into(reader.size - len(tail), memoryview(tail))
    place = tail.rfind(_MARK)
    ending = next((end for kind, end in _ENDS.items() if key.endswith(kind)), b"")
    whole = place >= 0 and (tail.endswith(ending) if ending else place == len(tail) - _SIZE)
    return "" if whole else "its end is missing"


def _sealed(key: str, data: bytes) -> bytes:
    place = data.rfind(_BLANK)
    return data[:place] + _seal_of(key, data, place) + data[place + _SIZE :]


def _seal_of(key: str, data: Buffer, place: int) -> bytes:
    """Of a file whose seal is, or is to be, at a place."""
    view = memoryview(data)
    found = xxhash.xxh3_128(f"{key}\n".encode())
    for part in (view[:place], _BLANK, view[place + _SIZE :]):
        found.update(part)
    return _MARK + found.hexdigest().encode()
