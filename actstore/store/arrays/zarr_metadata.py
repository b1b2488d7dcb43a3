"""Zarr v3 metadata documents.

A group that holds arrays carries them in its own zarr.json as well (consolidated metadata), so
that `xarray.open_zarr` opens a checkpoint with one read and without our code. Documents are
written whole; a group's own document is written last and makes it visible.
Source: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xxhash

from actstore.errors import CorruptShardError
from actstore.store.records.damage import Damage
from actstore.store.records.documents import (
    NO_FIELDS,
    Fields,
    damaged,
    is_table,
    list_of,
    parse_json,
    require_fields,
    table_of,
    whole_from,
    wrong_field,
)
from actstore.store.records.journal import Json
from actstore.store.shards import ShardLayout
from actstore.store.storage import Storage, join

DOCUMENT = "zarr.json"
_SEAL = "seal"
"""The attribute of a group that is made of its others and of its place."""
_NODES = "nodes"
"""The attribute that is made of the group's consolidated metadata."""
_MOST_DIMS = 8
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC32C = {"name": "crc32c"}
_FLAT_KEYS = {"name": "default", "configuration": {"separator": "."}}


def write_group(
    storage: Storage, prefix: str, attributes: Mapping[str, Json], *, consolidate: bool = False
) -> None:
    """Create or replace a group's document; consolidate: list the nodes below it in it."""
    if consolidate:
        nodes = _nodes_below(storage, prefix)
        document = _group(prefix, {**attributes, _NODES: _digest_of(prefix, nodes)})
        document["consolidated_metadata"] = _consolidated(nodes)
    else:
        document = _group(prefix, attributes)
    write_document(storage, prefix, document)


def create_group(storage: Storage, prefix: str, attributes: Mapping[str, Json]) -> None:
    """Create a group's document. Raises FileExistsError if there is one."""
    storage.create(_document_key(prefix), _encode(_group(prefix, attributes)))


def read_attributes(storage: Storage, prefix: str, fields: Fields = NO_FIELDS) -> dict[str, Any]:
    """A node's attributes, of a group less their seal. fields: that they must have.

    Raises FileNotFoundError where there is no node, CorruptShardError for a group whose attributes
    are not those that were written there, or that lack a field.
    """
    document = read_document(storage, prefix)
    found = document.get("attributes", {})
    attributes = dict(require_fields(storage, _document_key(prefix), found, fields))
    is_array = document.get("node_type") == "array"
    if not is_array and attributes.pop(_SEAL, "") != _digest_of(prefix, attributes):
        what = "its attributes are not those that were written in this place"
        raise damaged(storage, _document_key(prefix), what)
    attributes.pop(_NODES, None)
    return attributes


def read_shape(storage: Storage, prefix: str) -> tuple[int, ...]:
    """An array's shape. Raises FileNotFoundError, CorruptShardError."""
    document = read_document(storage, prefix)
    require_fields(storage, _document_key(prefix), document, {"shape": is_shape})
    return tuple(document["shape"])


def is_shape(value: object) -> bool:
    """Whether JSON is the shape of an array, of a few dimensions."""
    return list_of(whole_from(0), least=1)(value) and len(value) <= _MOST_DIMS  # type: ignore[arg-type]


def sharded_array(
    layout: ShardLayout, n_rows: int, dims: tuple[str, ...], attributes: Mapping[str, Json]
) -> dict[str, Any]:
    """The document of a (layer, row, hidden) array in shards of `layout`."""
    shard = [layout.n_layers, layout.rows_per_shard, layout.width]
    chunk = [1, layout.rows_per_chunk, layout.width]
    sharding = {
        "chunk_shape": chunk,
        "codecs": [_BYTES, *layout.encoding.codecs(layout.dtype), _CRC32C],
        "index_codecs": [_BYTES, _CRC32C],
        "index_location": "end",
    }
    return _array(
        shape=[layout.n_layers, n_rows, layout.width],
        dtype=layout.stored_dtype.name,
        chunk=shard,
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dims=(*dims[:-1], layout.encoding.last_dim),
        fill=layout.encoding.fill,
        attributes={
            **attributes,
            "precision": layout.precision,
            "hidden_size": layout.hidden_size,
        },
    )


def chunked_array(
    shape: tuple[int, ...], dtype: str, rows_per_chunk: int, dims: tuple[str, ...]
) -> dict[str, Any]:
    """The document of an array in chunks along its first dimension."""
    return _array(
        shape=list(shape),
        dtype=dtype,
        chunk=[rows_per_chunk, *shape[1:]],
        codecs=[_BYTES, _CRC32C],
        dims=dims,
        fill=_fill_value(np.dtype(dtype)),
        attributes={},
    )


def layered_array(
    shape: tuple[int, int],
    dtype: str,
    rows_per_chunk: int,
    dims: tuple[str, ...],
    attributes: Mapping[str, Json],
) -> dict[str, Any]:
    """The document of a (layer, row) array of floats in chunks of all layers of some rows."""
    return _array(
        shape=list(shape),
        dtype=dtype,
        chunk=[shape[0], rows_per_chunk],
        codecs=[_BYTES, _CRC32C],
        dims=dims,
        fill="NaN",
        attributes=attributes,
    )


def begin_array(storage: Storage, prefix: str, document: dict[str, Any]) -> None:
    """Create an array, or lengthen it: never shorten the one that is there."""
    try:
        stored = read_shape(storage, prefix)
    except FileNotFoundError:
        stored = (0,) * len(document["shape"])
    if any(new > old for new, old in zip(document["shape"], stored, strict=True)):
        write_document(storage, prefix, document)


def document_damage(
    storage: Storage, prefix: str, expected: Mapping[str, Any], n_rows: int
) -> Iterator[Damage]:
    """What is wrong with an array's document; beginning the array writes it again.

    expected: of an array of no rows. n_rows: that it can have at most: arrays are lengthened later
    than texts are added.
    """
    key = _document_key(prefix)
    try:
        document = read_document(storage, prefix)
    except FileNotFoundError:
        yield Damage(key, "it is missing", remade=True)
    except CorruptShardError as error:
        yield Damage(key, str(error), remade=True)
    else:
        rows = _rows_of(document, expected["shape"])
        stored = {**document, "shape": expected["shape"]}
        if not 0 <= rows <= n_rows or stored != expected:
            yield Damage(key, "it is not the document of this array", remade=True)


def _rows_of(document: Mapping[str, Any], expected: list[int]) -> int:
    """The length of the dimension that has none in an expected shape; -1 for another shape."""
    shape = document.get("shape")
    if not isinstance(shape, list) or len(shape) != len(expected):
        return -1
    others = [place for place, size in enumerate(expected) if size]
    if any(shape[place] != expected[place] for place in others):
        return -1
    (rows,) = (size for place, size in enumerate(shape) if place not in others)
    return rows if isinstance(rows, int) else -1


def group_damage(storage: Storage, prefix: str) -> Iterator[Damage]:
    """What is wrong with a consolidated group's document, and with those of the arrays below it.

    One that is missing is no matter of the document: arrays may come and go after it was written.
    """
    document = read_document(storage, prefix)
    consolidated = document.get("consolidated_metadata", {"metadata": {}})
    if what := wrong_field(consolidated, {"metadata": table_of(is_table)}):
        raise damaged(storage, _document_key(prefix), what)
    nodes = consolidated["metadata"]
    attributes = document.get("attributes", {})
    told = attributes.get(_NODES)
    expected = {**_group(prefix, read_attributes(storage, prefix)), "attributes": attributes}
    if told is not None:
        expected["consolidated_metadata"] = _consolidated(nodes)
    if document != expected or told not in (None, _digest_of(prefix, nodes)):
        what = "it is not what was written. Any actstore extract of the checkpoint writes it again"
        yield Damage(_document_key(prefix), what, remade=False)
        return
    there = _nodes_below(storage, prefix)
    for path in nodes.keys() & there.keys():
        if _less_shape(nodes[path]) != _less_shape(there[path]):
            key = _document_key(join(prefix, path))
            yield Damage(key, "it is not what its checkpoint's document says of it", remade=False)


def _less_shape(node: Mapping[str, Any]) -> dict[str, Any]:
    """Of an array: it may have grown since."""
    return {name: value for name, value in node.items() if name != "shape"}


def _consolidated(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": nodes}


def write_document(storage: Storage, prefix: str, document: dict[str, Any]) -> None:
    storage.replace(_document_key(prefix), _encode(document))


def _fill_value(dtype: np.dtype[Any]) -> object:
    """As JSON."""
    return {"f": "NaN", "b": False}.get(dtype.kind, 0)


def _group(prefix: str, attributes: Mapping[str, Json]) -> dict[str, Any]:
    sealed = {**attributes, _SEAL: _digest_of(prefix, attributes)}
    return {"zarr_format": 3, "node_type": "group", "attributes": sealed}


def _digest_of(prefix: str, values: Mapping[str, Any]) -> str:
    """Tells what a group's document says from anything else, and from another group's."""
    plain = json.loads(json.dumps(values))  # keys that are numbers are words once they are read
    canonical = json.dumps(plain, sort_keys=True)
    return xxhash.xxh3_128_hexdigest(f"{prefix}\n{canonical}".encode())


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _array(
    *,
    shape: list[int],
    dtype: str,
    chunk: list[int],
    codecs: list[Any],
    dims: tuple[str, ...],
    fill: object,
    attributes: Mapping[str, Json],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": _FLAT_KEYS,
        "fill_value": fill,
        "codecs": codecs,
        "dimension_names": list(dims),
        "attributes": dict(attributes),
        "storage_transformers": [],
    }


def read_document(storage: Storage, prefix: str) -> dict[str, Any]:
    """A node's document. Raises FileNotFoundError, CorruptShardError for what is no JSON object."""
    key = _document_key(prefix)
    return parse_json(storage, key, storage.read(key))


def _document_key(prefix: str) -> str:
    return join(prefix, DOCUMENT) if prefix else DOCUMENT


def _nodes_below(storage: Storage, prefix: str, path: str = "") -> dict[str, Any]:
    """The documents of all nodes below a group, by their path from it."""
    nodes: dict[str, Any] = {}
    for name in storage.names(join(prefix, path) if path else prefix):
        child = join(path, name) if path else name
        if not storage.exists(join(prefix, child, DOCUMENT)):
            continue
        document = read_document(storage, join(prefix, child))
        document.pop("consolidated_metadata", None)
        nodes[child] = document
        if document.get("node_type") == "group":
            nodes.update(_nodes_below(storage, prefix, child))
    return nodes
