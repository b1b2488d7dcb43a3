"""Shards: the rows of one block, all layers, as one Zarr v3 `sharding_indexed` object.

A shard holds (layer, row, hidden) for `rows_per_shard` consecutive rows; an inner chunk holds
`rows_per_chunk` rows of one layer, uncompressed, followed by its crc32c. Chunks are laid layer by
layer, so that one layer of a shard is one contiguous range of bytes; those in which no row holds a
text are left out, so that a few texts added later cost a few chunks and not a whole shard. The
index of (offset, bytes) pairs and its crc32c end the shard. zarr-python, tensorstore and xarray
read the same bytes.
Source: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.storage import Reader

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

_NO_CHUNK = np.uint64(2**64 - 1)
"""Stands for offset and size of a chunk that is not there."""
_CRC = 4
"""Bytes of a crc32c."""
_MAX_CHUNK = 512 << 10
_MAX_SHARD = 256 << 20
MAX_ROWS_PER_SHARD = 4096
"""Also the boundary at which parts of the text table start."""
_MIN_ROWS_PER_SHARD = 64
_MIN_SHARDS = 8
"""Small collections get smaller shards, so that several workers and a resumed run have units."""


@dataclass(frozen=True)
class ShardLayout:
    """The shape of every shard of an array."""

    n_layers: int
    rows_per_shard: int
    rows_per_chunk: int
    hidden_size: int
    dtype: str
    """`float16` or `float32`, little-endian on disk."""

    @cached_property
    def chunk_bytes(self) -> int:
        return self.rows_per_chunk * self.hidden_size * np.dtype(self.dtype).itemsize

    @property
    def stride(self) -> int:
        """Bytes from one chunk to the next: its values and its crc32c."""
        return self.chunk_bytes + _CRC

    @property
    def chunks_per_layer(self) -> int:
        return self.rows_per_shard // self.rows_per_chunk

    @property
    def index_bytes(self) -> int:
        return 16 * self.n_layers * self.chunks_per_layer + _CRC

    @property
    def data_bytes(self) -> int:
        return self.n_layers * self.chunks_per_layer * self.stride

    @property
    def shard_bytes(self) -> int:
        """Of a shard with a text in every chunk; others are smaller."""
        return self.data_bytes + self.index_bytes

    def values(self, image: NDArray[np.uint8]) -> Floats:
        """A view (layer, chunk, row in chunk, hidden) of the values inside a shard's bytes."""
        dtype = np.dtype(self.dtype).newbyteorder("<")
        shape = (self.n_layers, self.chunks_per_layer, self.rows_per_chunk, self.hidden_size)
        row = self.hidden_size * dtype.itemsize
        strides = (self.chunks_per_layer * self.stride, self.stride, row, dtype.itemsize)
        return np.ndarray(shape, dtype, buffer=image.data, strides=strides)


def choose_layout(n_layers: int, hidden_size: int, dtype: str, n_texts: int) -> ShardLayout:
    """The layout for a new array: powers of two, chunks up to 512 KiB, shards up to 256 MiB.

    zarr-python costs about the same for a chunk of any size, and a shard is one file: smaller
    chunks read slower, smaller shards make more files.
    """
    row_bytes = hidden_size * np.dtype(dtype).itemsize
    fits = _power_of_two_below(_MAX_SHARD // (n_layers * row_bytes))
    enough = _power_of_two_below(max(n_texts // _MIN_SHARDS, _MIN_ROWS_PER_SHARD))
    rows_per_shard = min(fits, enough, MAX_ROWS_PER_SHARD)
    rows_per_chunk = min(_power_of_two_below(_MAX_CHUNK // row_bytes), rows_per_shard)
    return ShardLayout(n_layers, rows_per_shard, rows_per_chunk, hidden_size, dtype)


def _power_of_two_below(n: int) -> int:
    return 1 << (max(n, 1).bit_length() - 1)


class ShardBuilder:
    """Collects one shard in memory, in the bytes of the final object.

    Rows may arrive in any order; rows that no text has stay NaN.
    """

    def __init__(self, layout: ShardLayout) -> None:
        self.layout = layout
        self._image = np.empty(layout.shard_bytes, np.uint8)
        self._values = layout.values(self._image)
        self._values[...] = np.nan
        self.filled = np.zeros(layout.rows_per_shard, bool)

    def put(self, positions: Ints, states: Floats) -> None:
        """Set rows. positions: (n,) in the shard. states: (layer, n, hidden), the stored dtype."""
        if states.dtype != np.dtype(self.layout.dtype):
            raise TypeError(f"states are {states.dtype}, the shard holds {self.layout.dtype}")
        chunk, row = np.divmod(positions, self.layout.rows_per_chunk)
        self._values[:, chunk, row] = states
        self.filled[positions] = True

    def seal(self, expected: Ints) -> memoryview:
        """The finished bytes, with checksums and index.

        expected: the positions of all texts, each of which must have been put. Chunks without any
        are left out: in the index they are missing, which Zarr reads as the fill value.
        """
        missing = expected[~self.filled[expected]]
        if len(missing):
            raise AssertionError(f"{len(missing)} rows of the shard were never put: {missing[:5]}")
        layout = self.layout
        used = np.zeros(layout.chunks_per_layer, bool)
        used[expected // layout.rows_per_chunk] = True
        chunks = self._image[: layout.data_bytes].reshape(layout.n_layers, -1, layout.stride)
        size = layout.n_layers * int(used.sum()) * layout.stride
        if not used.all():
            self._image[:size] = chunks[:, used].ravel()
        for chunk in self._image[:size].reshape(-1, layout.stride):
            crc = checksum(chunk[: layout.chunk_bytes])
            chunk[layout.chunk_bytes :] = np.frombuffer(crc, np.uint8)
        end = size + layout.index_bytes
        self._image[size:end] = _index(layout, used)
        return self._image[:end].data


def checksum(data: bytes | NDArray[np.uint8]) -> bytes:
    """The crc32c (RFC 3720) of some bytes, little-endian, as the Zarr codec appends it."""
    return int(google_crc32c.value(data)).to_bytes(_CRC, "little")


def _index(layout: ShardLayout, used: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Where each chunk lies, those in use one behind the other, layer by layer."""
    pairs = np.full((layout.n_layers, layout.chunks_per_layer, 2), _NO_CHUNK, "<u8")
    places = np.arange(layout.n_layers * int(used.sum()), dtype="<u8")
    pairs[:, used, 0] = places.reshape(layout.n_layers, -1) * layout.stride
    pairs[:, used, 1] = layout.stride
    body = pairs.tobytes()
    return np.frombuffer(body + checksum(body), np.uint8)


class ShardReader:
    """Reads layers or rows of one shard; every chunk that is touched is checked."""

    def __init__(self, reader: Reader, layout: ShardLayout, name: str) -> None:
        """name: what to call the shard in an error."""
        self._reader, self._layout, self._name = reader, layout, name
        self._offsets = self._read_index()

    def read(self, layer: int, positions: Ints, out: Floats) -> None:
        """Copy rows of one layer to `out` (n, hidden), converting to its dtype.

        layer: index in the array, not the layer's number. positions: (n,) ascending, in the shard.
        """
        in_chunk = positions % self._layout.rows_per_chunk
        chunks, which = np.unique(positions // self._layout.rows_per_chunk, return_inverse=True)
        for start, stop in _runs(self._offsets[layer, chunks], self._layout.stride):
            values = self._read_chunks(layer, chunks[start:stop])
            low, high = np.searchsorted(which, [start, stop])
            if high - low == values.shape[0] * values.shape[1]:
                out[low:high].reshape(values.shape)[...] = values
            else:
                out[low:high] = values[which[low:high] - start, in_chunk[low:high]]

    def check(self) -> None:
        """Read every chunk; CorruptShardError at the first that is damaged."""
        for layer in range(self._layout.n_layers):
            for chunk in np.flatnonzero(self._offsets[layer] >= 0):
                self._read_chunks(layer, np.array([chunk]))

    def _read_chunks(self, layer: int, chunks: Ints) -> Floats:
        """Neighbouring chunks: (chunk, row, hidden), a view of the bytes read."""
        layout = self._layout
        if self._offsets[layer, chunks].min() < 0:
            raise self._corrupt(f"it has no rows of chunk {chunks[0]} of layer index {layer}")
        raw = np.empty(len(chunks) * layout.stride, np.uint8)
        self._reader.read_into(int(self._offsets[layer, chunks[0]]), raw.data)
        for chunk, data in zip(chunks, raw.reshape(-1, layout.stride), strict=True):
            if bytes(data[layout.chunk_bytes :]) != checksum(data[: layout.chunk_bytes]):
                raise self._corrupt(f"chunk {chunk} of layer index {layer} fails its crc32c")
        row = layout.hidden_size * np.dtype(layout.dtype).itemsize
        return np.ndarray(
            (len(chunks), layout.rows_per_chunk, layout.hidden_size),
            np.dtype(layout.dtype).newbyteorder("<"),
            buffer=raw.data,
            strides=(layout.stride, row, np.dtype(layout.dtype).itemsize),
        )

    def _read_index(self) -> NDArray[np.int64]:
        """The offset of every chunk, (layer, chunk); -1 for one that holds no text."""
        layout = self._layout
        data_bytes = self._reader.size - layout.index_bytes
        if data_bytes < 0 or data_bytes % layout.stride:
            raise self._corrupt(f"{self._reader.size} bytes are no whole number of chunks")
        raw = np.empty(layout.index_bytes, np.uint8)
        self._reader.read_into(data_bytes, raw.data)
        if bytes(raw[-_CRC:]) != checksum(raw[:-_CRC]):
            raise self._corrupt("its index fails its crc32c")
        pairs = raw[:-_CRC].view("<u8").reshape(layout.n_layers, -1, 2)
        present = (pairs != _NO_CHUNK).all(-1)
        if (pairs[present, 1] != layout.stride).any():
            raise self._corrupt("its index names a chunk of another size")
        offsets: NDArray[np.int64] = np.where(present, pairs[..., 0], 0).astype(np.int64)
        offsets[~present] = -1
        return offsets

    def _corrupt(self, why: str) -> CorruptShardError:
        return CorruptShardError(f"{self._name} is damaged: {why}. Run: actstore verify STORE")


def _runs(offsets: NDArray[np.int64], stride: int) -> list[tuple[int, int]]:
    """Ranges of chunks that lie one behind the other, so that each is one read."""
    breaks = np.flatnonzero(np.diff(offsets) != stride) + 1
    edges = [0, *breaks.tolist(), len(offsets)]
    return list(pairwise(edges))
