"""Small unsharded arrays: chunks along the first dimension, each with its crc32c.

They are read and written through the storage, without zarr-python, which reads a chunk that is
missing as fill values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    chunked_array,
    is_shape,
    read_document,
    write_document,
)
from actstore.store.records.documents import damaged
from actstore.store.shards import checksum
from actstore.store.storage import Storage, each, join


def encode_chunk(values: NDArray[Any]) -> bytes:
    """One chunk of a chunked array, as stored: little-endian values and their crc32c."""
    data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + checksum(data)


def decode_chunk(data: bytes, dtype: str) -> NDArray[Any]:
    """The values of an encoded chunk, flat. Raises ValueError where its crc32c says otherwise."""
    end = len(data) - len(checksum(b""))
    body = data[:end]
    if checksum(body) != data[end:]:
        raise ValueError("it fails its crc32c")
    return np.frombuffer(body, np.dtype(dtype).newbyteorder("<"))


def chunk_key(prefix: str, index: int, n_dims: int) -> str:
    """The key of the index-th chunk along the first dimension."""
    return join(prefix, ".".join(["c", str(index), *["0"] * (n_dims - 1)]))


def shard_key(prefix: str, index: int, n_dims: int = 3) -> str:
    """The key of the index-th shard of a (layer, row, hidden) or, in 2 dims, (layer, row) array."""
    return join(prefix, ".".join(["c", "0", str(index), *["0"] * (n_dims - 2)]))


def write_array(
    storage: Storage,
    prefix: str,
    values: NDArray[Any],
    dims: tuple[str, ...],
    rows_per_chunk: int,
    *,
    twin: str | None = None,
) -> None:
    """Write a whole array in chunks along its first dimension; its document last.

    twin: an array written likewise, of which chunks that hold the same bytes are shared.
    """
    rows = max(1, min(rows_per_chunk, len(values)))
    for index, start in enumerate(range(0, len(values), rows)):
        part = values[start : start + rows]
        padding = [(0, rows - len(part)), *[(0, 0)] * (values.ndim - 1)]
        chunk = np.pad(part, padding) if len(part) < rows else part
        key, data = chunk_key(prefix, index, values.ndim), encode_chunk(chunk)
        source = None if twin is None else chunk_key(twin, index, values.ndim)
        if source is None or not _shared(storage, source, key, data):
            storage.replace(key, data)
    write_document(storage, prefix, chunked_array(values.shape, values.dtype.name, rows, dims))


def _shared(storage: Storage, source: str, key: str, data: bytes) -> bool:
    """Share the object at `source` if it holds this data; False if it does not."""
    try:
        if storage.read(source) != data:
            return False
        storage.share(source, key)
    except FileNotFoundError:  # dropped meanwhile
        return False
    return True


def chunk_sizes(storage: Storage, prefix: str) -> dict[str, int]:
    """The key of each chunk of an array that `write_array` wrote, and its bytes.

    Where chunks are missing, as many keys as it takes to see that. Raises FileNotFoundError where
    there is no array, CorruptShardError for another kind of array.
    """
    shape, dtype, chunk = _chunking(storage, prefix)
    there = sum(name.startswith("c.") for name in storage.names(prefix))
    n_chunks = min(-(-shape[0] // chunk[0]), there + 1)  # a damaged document may say billions
    keys = (chunk_key(prefix, index, len(shape)) for index in range(n_chunks))
    return dict.fromkeys(keys, chunk_size(math.prod(chunk), dtype.name))


def wrong_chunk(storage: Storage, prefix: str) -> str:
    """The first chunk of an array that is missing or of another size; empty for none."""
    key = prefix
    try:
        for key, n_bytes in chunk_sizes(storage, prefix).items():
            with storage.open(key) as reader:
                if reader.size != n_bytes:
                    return f"{key} has {reader.size} bytes, {n_bytes} were written"
    except FileNotFoundError:
        return f"{key} is missing"
    except CorruptShardError as error:
        return str(error)
    return ""


def chunk_size(n_values: int, dtype: str) -> int:
    """Bytes of an encoded chunk."""
    return n_values * np.dtype(dtype).itemsize + len(checksum(b""))


def read_array(storage: Storage, prefix: str) -> NDArray[Any]:
    """A whole array that `write_array` wrote.

    Raises FileNotFoundError where there is no array, CorruptShardError for a chunk that is missing
    or damaged.
    """
    shape, dtype, chunk = _chunking(storage, prefix)

    def read_chunk(key: str) -> NDArray[Any]:
        try:
            return decode_chunk(storage.read(key), dtype.name).reshape(chunk)
        except FileNotFoundError as error:
            raise damaged(storage, key, "it is missing") from error
        except ValueError as error:
            raise damaged(storage, key, error) from error

    chunks = each(storage, read_chunk, chunk_sizes(storage, prefix))
    values = np.concatenate([np.empty((0, *shape[1:]), dtype), *chunks])
    return values[: shape[0]]


def wrong_layers(storage: Storage, prefix: str, layers: Sequence[int]) -> str:
    """What is wrong with the array `layer` of a group, which xarray labels by; empty for nothing.

    layers: what it should hold.
    """
    array = join(prefix, "layer")
    try:
        if read_array(storage, array).tolist() != list(layers):
            return f"{array} does not hold the layers of its group"
    except FileNotFoundError:
        return f"{array} is missing"
    except CorruptShardError as error:
        return str(error)
    return ""


def array_digest(values: NDArray[Any]) -> str:
    """xxh3-128 of an array's values, little-endian, in C order."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return xxhash.xxh3_128_hexdigest(little.reshape(-1).view(np.uint8).data)


def _chunking(
    storage: Storage, prefix: str
) -> tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]:
    """Shape, dtype and shape of a chunk of an array that is chunked along its first dimension."""
    document = read_document(storage, prefix)
    try:
        shape, dtype = tuple(document["shape"]), np.dtype(str(document["data_type"]))
        chunk = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
        if not (is_shape([*shape]) and is_shape([*chunk])):
            raise ValueError(f"no array has shape {document['shape']}")
        if chunk[1:] != shape[1:] or min(chunk) < 1 or dtype.kind not in "biuf":
            raise ValueError("no array that is chunked along its first dimension")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(storage, join(prefix, DOCUMENT), error) from error
    return shape, dtype, chunk
