"""Reading a shard: layers or rows of it, every chunk that is touched checked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.shards.builder import NO_CHUNK, shard_digest
from actstore.store.shards.layout import CRC, TAG, Ints, ShardLayout, checksum
from actstore.store.shards.tags import ShardIdentity
from actstore.store.storage import Reader


class ShardReader:
    """Reads layers or rows of one shard; every chunk that is touched is checked.

    Where chunks lie is known from the layout if all are there and none is compressed; otherwise the
    index is read first.
    """

    def __init__(
        self,
        reader: Reader,
        layout: ShardLayout,
        name: str,
        identity: ShardIdentity | None,
        n_bytes: int | None = None,
    ) -> None:
        """name: what to call the shard in an error. identity, n_bytes: as committed.

        identity: None for a shard that another writer made: its chunks have no tags, and the index
        alone says where they are.
        """
        self._reader, self._layout, self._name = reader, layout, name
        self._identity, self._n_bytes = identity, n_bytes
        self._known_extents: NDArray[np.int64] | None = None
        if (
            identity is not None
            and n_bytes == layout.shard_bytes
            and not layout.encoding.compresses
        ):
            self._known_extents = _extents_of_full(layout)

    def read(self, layer: int, positions: Ints, out: NDArray[Any]) -> None:
        """Fill `out` (n, hidden) with rows of one layer, converting to its dtype.

        layer: index in the array, not the layer's number. positions: (n,) ascending, in the shard.
        """
        layout = self._layout
        in_chunk = positions % layout.rows_per_chunk
        chunks, which = np.unique(positions // layout.rows_per_chunk, return_inverse=True)
        for start, stop in _runs(self._extents[layer, chunks], self._gap):
            values = self._read_chunks(layer, chunks[start:stop])
            low, high = np.searchsorted(which, [start, stop])
            if high - low == values.shape[0] * values.shape[1]:
                layout.encoding.decode(values, out[low:high].reshape(*values.shape[:2], -1))
            else:
                wanted = values[which[low:high] - start, in_chunk[low:high]]
                layout.encoding.decode(wanted, out[low:high])
        self._require_size()

    def check(self) -> str:
        """Read everything; its `shard_digest`. CorruptShardError at the first damaged chunk."""
        self._require_size()
        index = self._read_index()
        self._known_extents = self._parse_index(index)  # which is checked with it
        endings = bytearray()
        for layer in range(self._layout.n_layers):
            for number in np.flatnonzero(self._extents[layer, :, 0] >= 0):
                chunk = np.array([number])
                raw, _ = self._read_raw(layer, chunk)
                self._check(layer, int(number), raw)
                endings += bytes(raw[len(raw) - CRC - self._gap :])
        return shard_digest(bytes(endings), index)

    def damaged(self) -> list[tuple[int, int]]:
        """The layer index and number of every chunk that cannot be read; all if none can be found.

        For a shard that `check` refuses. None where the index alone is damaged, and not needed.
        """
        shape = self._layout.n_layers, self._layout.chunks_per_layer
        try:
            there = self._extents[..., 0] >= 0
        except CorruptShardError:
            there = np.ones(shape, bool)
        chunks = [(int(layer), int(number)) for layer, number in np.argwhere(there)]
        return [chunk for chunk in chunks if not self._is_sound(*chunk)]

    def _is_sound(self, layer: int, number: int) -> bool:
        try:
            self._read_chunks(layer, np.array([number]))
        except CorruptShardError:
            return False
        return True

    @property
    def _gap(self) -> int:
        """Bytes between two chunks: the tag of the first."""
        return 0 if self._identity is None else TAG

    @property
    def _extents(self) -> NDArray[np.int64]:
        """(layer, chunk, 2): offset and size of every chunk, with its crc32c; -1 for none."""
        if self._known_extents is None:
            self._known_extents = self._parse_index(self._read_index())
        return self._known_extents

    def _read_chunks(self, layer: int, chunks: Ints) -> NDArray[Any]:
        """Neighbouring chunks: (chunk, row, width), a view of the bytes read where it can be."""
        layout = self._layout
        raw, parts = self._read_raw(layer, chunks)
        for number, part in zip(chunks.tolist(), parts, strict=True):
            self._check(layer, number, part)
        if layout.encoding.compresses:
            data = np.empty((len(chunks), layout.chunk_bytes), np.uint8)
            for number, part, out in zip(chunks.tolist(), parts, data, strict=True):
                self._decompress(layer, number, part[: len(part) - CRC - self._gap], out)
            shape = (len(chunks), layout.rows_per_chunk, layout.width)
            return data.view(layout.stored_dtype).reshape(shape)
        stride = layout.chunk_bytes + CRC + self._gap
        return np.ndarray(
            (len(chunks), layout.rows_per_chunk, layout.width),
            layout.stored_dtype,
            buffer=raw.data,
            strides=(stride, layout.row_bytes, layout.stored_dtype.itemsize),
        )

    def _read_raw(
        self, layer: int, chunks: Ints
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
        """Neighbouring chunks in one read: all bytes, and those of each, with crc32c and tag."""
        extents = self._extents[layer, chunks]
        if extents.min() < 0:
            raise self._corrupt(f"it has no rows of chunk {chunks[0]} of layer index {layer}")
        sizes = extents[:, 1] + self._gap
        raw = np.empty(int(sizes.sum()), np.uint8)
        self._reader.read_into(int(extents[0, 0]), raw.data)
        ends = np.cumsum(sizes)
        return raw, [raw[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def _check(self, layer: int, number: int, raw: NDArray[np.uint8]) -> None:
        end = len(raw) - CRC - self._gap
        where = f"chunk {number} of layer index {layer}"
        if checksum(raw[:end]) != bytes(raw[end : end + CRC]):
            raise self._corrupt(f"{where} fails its crc32c")
        if self._identity and bytes(raw[end + CRC :]) != self._identity.tag(layer, number):
            raise self._corrupt(f"{where} is another shard's, or of another plan")

    def _decompress(
        self, layer: int, number: int, data: NDArray[np.uint8], out: NDArray[np.uint8]
    ) -> None:
        try:
            self._layout.encoding.decompress(data, out)
        except ValueError as error:
            where = f"chunk {number} of layer index {layer}"
            raise self._corrupt(f"{where} cannot be decompressed: {error}") from error

    def _require_size(self) -> None:
        if self._n_bytes is not None and self._reader.size != self._n_bytes:
            raise self._corrupt(f"it has {self._reader.size} bytes, {self._n_bytes} were committed")

    def _read_index(self) -> bytes:
        size = self._layout.index_bytes
        if self._reader.size < size:
            raise self._corrupt(f"its {self._reader.size} bytes are fewer than its index has")
        raw = bytearray(size)
        self._reader.read_into(self._reader.size - size, memoryview(raw))
        if bytes(raw[-CRC:]) != checksum(bytes(raw[:-CRC])):
            raise self._corrupt("its index fails its crc32c")
        return bytes(raw)

    def _parse_index(self, index: bytes) -> NDArray[np.int64]:
        layout = self._layout
        pairs = np.frombuffer(index[:-CRC], "<u8").reshape(layout.n_layers, -1, 2)
        present = (pairs != NO_CHUNK).all(-1)
        limit = np.uint64(self._reader.size - layout.index_bytes)
        offsets, sizes = pairs[present, 0], pairs[present, 1]
        if (sizes > limit).any() or (offsets > limit - sizes).any() or (sizes < CRC).any():
            raise self._corrupt("its index names chunks that are not in it")
        if not layout.encoding.compresses and (sizes != layout.chunk_bytes + CRC).any():
            raise self._corrupt("its index names a chunk of another size")
        extents = np.where(present[..., None], pairs, 0).astype(np.int64)
        extents[~present] = -1
        return extents

    def _corrupt(self, why: str) -> CorruptShardError:
        return CorruptShardError(f"{self._name} is damaged: {why}. Run: actstore verify STORE")


def _extents_of_full(layout: ShardLayout) -> NDArray[np.int64]:
    """Where the chunks of an uncompressed shard lie that has all of them."""
    extents = np.empty((layout.n_layers, layout.chunks_per_layer, 2), np.int64)
    extents[..., 0] = np.arange(0, layout.data_bytes, layout.stride).reshape(layout.n_layers, -1)
    extents[..., 1] = layout.chunk_bytes + CRC
    return extents


def _runs(extents: NDArray[np.int64], gap: int) -> list[tuple[int, int]]:
    """Ranges of chunks that lie one behind the other, so that each is one read."""
    ends = extents[:-1, 0] + extents[:-1, 1] + gap
    breaks = np.flatnonzero(ends != extents[1:, 0]) + 1
    return list(pairwise([0, *breaks.tolist(), len(extents)]))
