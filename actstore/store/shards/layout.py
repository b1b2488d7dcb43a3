"""The shape of an array's shards: how many rows, in chunks of how many, in how many bytes.

A shard holds (layer, row, hidden) for `rows_per_shard` consecutive rows; an inner chunk holds
`rows_per_chunk` rows of one layer. Behind every chunk stand its crc32c, which belongs to it, and
its tag, which Zarr steps over (see `tags.py`). Chunks are laid layer by layer, so that one layer of
a shard is one contiguous range of bytes; those in which no row holds a text are left out, so that a
few texts added later cost a few chunks and not a whole shard. The index of (offset, bytes) pairs
and its crc32c end the shard.
Source: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from actstore.store.shards.encodings import ENCODINGS, EXACT, Encoding, encoding_of

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

CRC = 4
"""Bytes of a crc32c."""
TAG = 12
"""Bytes of a tag; with a crc32c, 16, so that chunks stay aligned."""
MAX_ROWS_PER_SHARD = 4096
"""Also the boundary at which parts of the text table start."""
MOST_ROWS = 1 << 24
"""In a shard; one of tokens is as long as the longest text."""
MOST_LAYERS = 1 << 13
MOST_HIDDEN = 1 << 24
_DTYPES = ("float16", "float32")
_MOST_CHUNK_BYTES = 1 << 30
_MOST_INDEX = 1 << 28
"""Bytes. What a document claims beyond these is refused before room is made for it."""
_MAX_CHUNK = 512 << 10
_MAX_SHARD = 256 << 20
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
    """Of the states, `float16` or `float32`."""
    precision: str = EXACT
    """How states become what is stored: a key of ENCODINGS."""

    def problem(self) -> str:
        """Why no array of ours has such shards; empty for nothing."""
        if not (0 < self.n_layers <= MOST_LAYERS and 0 < self.hidden_size <= MOST_HIDDEN):
            return f"{self.n_layers} layers of {self.hidden_size} values"
        rows, of_chunk = self.rows_per_shard, self.rows_per_chunk
        if not 0 < of_chunk <= rows <= MOST_ROWS or rows % of_chunk:
            return f"{rows} rows in chunks of {of_chunk}"
        if self.dtype not in _DTYPES or self.precision not in ENCODINGS:
            return f"{self.dtype} states in precision {self.precision}"
        if self.chunk_bytes > _MOST_CHUNK_BYTES or self.index_bytes > _MOST_INDEX:
            return f"chunks of {self.chunk_bytes:,} bytes, an index of {self.index_bytes:,}"
        return ""

    @cached_property
    def encoding(self) -> Encoding:
        return encoding_of(self.precision)

    @cached_property
    def stored_dtype(self) -> np.dtype[Any]:
        """Of the values in the Zarr array, little-endian."""
        return self.encoding.stored_dtype(self.dtype).newbyteorder("<")

    @property
    def decoded_dtype(self) -> np.dtype[Any]:
        """What states are read as without loss."""
        is_float = self.stored_dtype.kind == "f"
        return np.dtype(self.dtype) if is_float else np.dtype(np.float32)

    @cached_property
    def width(self) -> int:
        """Values of `stored_dtype` in a row of one layer."""
        return self.encoding.width(self.hidden_size, self.rows_per_chunk)

    @cached_property
    def row_bytes(self) -> int:
        return self.width * self.stored_dtype.itemsize

    @cached_property
    def chunk_bytes(self) -> int:
        """Of a chunk's values, before they are compressed."""
        return self.rows_per_chunk * self.row_bytes

    @property
    def stride(self) -> int:
        """Bytes from one uncompressed chunk to the next: its values, their crc32c and the tag."""
        return self.chunk_bytes + CRC + TAG

    @property
    def chunks_per_layer(self) -> int:
        return self.rows_per_shard // self.rows_per_chunk

    @property
    def index_bytes(self) -> int:
        return 16 * self.n_layers * self.chunks_per_layer + CRC

    @property
    def data_bytes(self) -> int:
        return self.n_layers * self.chunks_per_layer * self.stride

    @property
    def shard_bytes(self) -> int:
        """Of an uncompressed shard with a text in every chunk; others are smaller."""
        return self.data_bytes + self.index_bytes

    @property
    def most_bytes(self) -> int:
        """Of a shard at most; where nothing is compressed, one with a text in every chunk."""
        return self.shard_bytes + self.n_layers * self.chunks_per_layer * self.encoding.overhead

    @property
    def likely_bytes(self) -> int:
        """About how many bytes a shard has with a text in every chunk."""
        saved = self.n_layers * self.chunks_per_layer * self.chunk_bytes
        return self.shard_bytes - round(saved * (1 - self.encoding.share(self.dtype)))

    def values(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """A view (layer, chunk, row in chunk, width) of the values in an uncompressed shard."""
        shape = (self.n_layers, self.chunks_per_layer, self.rows_per_chunk, self.width)
        strides = (
            self.chunks_per_layer * self.stride,
            self.stride,
            self.row_bytes,
            self.stored_dtype.itemsize,
        )
        return np.ndarray(shape, self.stored_dtype, buffer=image.data, strides=strides)


def choose_layout(
    n_layers: int, hidden_size: int, dtype: str, n_texts: int, precision: str = EXACT
) -> ShardLayout:
    """The layout for a new array: powers of two, chunks up to 512 KiB, shards up to 256 MiB.

    zarr-python costs about the same for a chunk of any size, and a shard is one file: smaller
    chunks read slower, smaller shards make more files.
    """
    row_bytes = hidden_size * np.dtype(dtype).itemsize  # a builder holds them in memory
    fits = _power_of_two_below(_MAX_SHARD // (n_layers * row_bytes))
    enough = _power_of_two_below(max(n_texts // _MIN_SHARDS, _MIN_ROWS_PER_SHARD))
    rows_per_shard = min(fits, enough, MAX_ROWS_PER_SHARD)
    stored_bytes = hidden_size * encoding_of(precision).stored_dtype(dtype).itemsize
    rows_per_chunk = min(_power_of_two_below(_MAX_CHUNK // stored_bytes), rows_per_shard)
    return ShardLayout(n_layers, rows_per_shard, rows_per_chunk, hidden_size, dtype, precision)


def _power_of_two_below(n: int) -> int:
    return 1 << (max(n, 1).bit_length() - 1)


def checksum(data: bytes | NDArray[np.uint8]) -> bytes:
    """The crc32c (RFC 3720) of some bytes, little-endian, as the Zarr codec appends it."""
    return int(google_crc32c.value(data)).to_bytes(CRC, "little")
