"""Reading a shard: layers or rows of it, every chunk that is touched checked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.shards.builder import NO_CHUNK, shard_digest
from actstore.store.shards.layout import CRC, TAG, Ints, ShardLayout, checksum
from actstore.store.shards.tags import ShardIdentity
from actstore.store.storage import Reader

_READ_AT_ONCE = 16 << 20
"""Bytes: a layer of a shard in one request, as a rule, and no more memory than that."""

_WORTH_A_READ = 64 << 10
"""Bytes: to copy fewer costs less than to ask the file system once more."""


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
        bridged: int = 0,
    ) -> None:
        """name: what to call the shard in an error. identity, n_bytes: as committed.

        identity: None for a shard that another writer made: its chunks have no tags, and the index
        alone says where they are. bridged: up to so many bytes between two chunks are read along,
        to spare a request.
        """
        self._reader, self._layout, self._name = reader, layout, name
        self._identity, self._n_bytes, self._bridged = identity, n_bytes, bridged
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
        chunk_of, row_of = np.divmod(positions, layout.rows_per_chunk)
        first = np.flatnonzero(np.diff(chunk_of, prepend=-1))
        bounds = list(pairwise([*first.tolist(), len(positions)]))
        rooms = self._rooms(bounds, out)
        chunks = self._chunks(layer, chunk_of[first], rooms)
        for (low, high), room, (number, raw) in zip(bounds, rooms, chunks, strict=True):
            if room is None:
                values = self._values(layer, number, raw)
                layout.encoding.decode(values, _as_slice(row_of[low:high]), out[low:high])
        self._require_size()

    def check(self) -> str:
        """Read everything; its `shard_digest`. CorruptShardError at the first damaged chunk."""
        self._require_size()
        index = self._read_index()
        self._known_extents = self._parse_index(index)  # which is checked with it
        endings = bytearray()
        for layer, there in enumerate(self._extents[..., 0] >= 0):
            for _, raw in self._chunks(layer, np.flatnonzero(there)):
                endings += raw[len(raw) - CRC - self._gap :].data
        return shard_digest(bytes(endings), index)

    def check_index(self) -> None:
        """Read the index alone; CorruptShardError if it, or the size, is not as committed."""
        self._require_size()
        self._parse_index(self._read_index())

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
            for _, raw in self._chunks(layer, np.array([number])):
                self._values(layer, number, raw)
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

    def _rooms(
        self, bounds: list[tuple[int, int]], out: NDArray[Any]
    ) -> list[NDArray[np.uint8] | None]:
        """For every chunk the bytes of `out` to read it into, which spares a copy; or None.

        It can be if all its rows are wanted, and as they are stored. Its crc32c and tag come to lie
        on the rows behind it, which are filled after it; the last chunk has none.
        """
        layout = self._layout
        n_bytes = layout.chunk_bytes + CRC + self._gap
        as_stored = layout.encoding.in_place and out.dtype == layout.stored_dtype
        worth_a_read = n_bytes >= _WORTH_A_READ and not self._bridged
        if not (as_stored and worth_a_read and out.flags.c_contiguous):
            return [None] * len(bounds)
        data = out.reshape(-1).view(np.uint8)
        starts = [low * layout.row_bytes for low, _ in bounds]
        fits = [
            high - low == layout.rows_per_chunk and start + n_bytes <= len(data)
            for start, (low, high) in zip(starts, bounds, strict=True)
        ]
        return [
            data[start : start + n_bytes] if one else None
            for start, one in zip(starts, fits, strict=True)
        ]

    def _chunks(
        self, layer: int, numbers: Ints, rooms: list[NDArray[np.uint8] | None] | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Chunks in their order, checked: the number and the bytes, with crc32c and tag, of each.

        rooms: where to read each of them to. The bytes of those that have none are overwritten when
        the next ones are asked for.
        """
        extents = self._extents[layer, numbers]
        if (extents < 0).any():
            absent = numbers[extents[:, 0] < 0][0]
            raise self._corrupt(f"it has no rows of chunk {absent} of layer index {layer}")
        places = np.stack([extents[:, 0], extents.sum(1) + self._gap], 1).tolist()
        rooms = rooms or [None] * len(places)
        alone = [room is not None for room in rooms]
        for start, stop in _pieces(places, alone, self._bridged):
            offset, end = places[start][0], places[stop - 1][1]
            room = rooms[start]
            raw = _SCRATCH.of(end - offset) if room is None else room
            self._reader.read_into(offset, raw.data)
            for number, (low, high) in zip(
                numbers[start:stop].tolist(), places[start:stop], strict=True
            ):
                chunk = raw[low - offset : high - offset]
                self._check(layer, number, chunk)
                yield number, chunk

    def _values(self, layer: int, number: int, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """(row, width): what a chunk holds, a view of its bytes unless they are compressed."""
        layout = self._layout
        data = raw[: len(raw) - CRC - self._gap]
        if layout.encoding.compresses:
            unpacked = np.empty(layout.chunk_bytes, np.uint8)
            self._decompress(layer, number, data, unpacked)
            data = unpacked
        return data.view(layout.stored_dtype).reshape(layout.rows_per_chunk, layout.width)

    def _check(self, layer: int, number: int, raw: NDArray[np.uint8]) -> None:
        end = len(raw) - CRC - self._gap
        ending = raw[end:].tobytes()
        if checksum(raw[:end]) != ending[:CRC]:
            raise self._corrupt(f"chunk {number} of layer index {layer} fails its crc32c")
        if self._identity and ending[CRC:] != self._identity.tag(layer, number):
            where = f"chunk {number} of layer index {layer}"
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


def _pieces(places: list[list[int]], alone: list[bool], bridged: int) -> Iterator[tuple[int, int]]:
    """Ranges of chunks, each to be read at once.

    places: offset and end of every chunk. alone: those that are read each by itself.
    """
    start = 0
    for i, ((_, before), (offset, end)) in enumerate(pairwise(places), start=1):
        near = 0 <= offset - before <= bridged and not (alone[i - 1] or alone[i])
        if not near or end - places[start][0] > _READ_AT_ONCE:
            yield start, i
            start = i
    if places:
        yield start, len(places)


def _as_slice(rows: Ints) -> slice | Ints:
    """Rows, ascending, as a slice if none is left out between them: numpy then copies nothing."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    return slice(start, stop) if stop - start == len(rows) else rows


class _Scratch(threading.local):
    """A buffer of each thread for what it reads: fresh memory costs as much as the reading."""

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint8)

    def of(self, n_bytes: int) -> NDArray[np.uint8]:
        """So many bytes, until the next call in the same thread."""
        if n_bytes > len(self._kept):
            fresh = np.empty(n_bytes, np.uint8)
            if n_bytes > _READ_AT_ONCE:  # a chunk of another writer's: not to be kept
                return fresh
            self._kept = fresh
        return self._kept[:n_bytes]


_SCRATCH = _Scratch()
