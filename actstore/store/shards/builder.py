"""Writing a shard: collected in memory in any order, sealed into the bytes of one object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.store.shards.layout import CRC, TAG, Floats, Ints, ShardLayout, checksum
from actstore.store.shards.tags import ShardIdentity

NO_CHUNK = np.uint64(2**64 - 1)
"""Stands in the index for offset and size of a chunk that is not there."""


@dataclass(frozen=True)
class SealedShard:
    """A finished shard."""

    image: memoryview
    """The bytes of the object."""
    digest: str
    """Of its chunks' checksums and tags, in their order, and of its index: see `shard_digest`."""


class ShardBuilder:
    """Collects one shard in memory, in the bytes of the final object.

    Rows may arrive in any order; rows that no text has stay NaN. States that are not stored as they
    are wait until the shard is sealed.
    """

    def __init__(self, layout: ShardLayout) -> None:
        self.layout = layout
        in_place = layout.encoding.in_place
        self._image = np.empty(layout.shard_bytes if in_place else 0, np.uint8)
        self._states = layout.values(self._image) if in_place else _room(layout)
        self.filled = np.zeros(layout.rows_per_shard, bool)

    def put(self, positions: Ints, states: Floats) -> None:
        """Set rows. positions: (n,) in the shard. states: (layer, n, hidden), of its dtype."""
        if states.dtype != np.dtype(self.layout.dtype):
            raise TypeError(f"states are {states.dtype}, the shard holds {self.layout.dtype}")
        chunk, row = np.divmod(positions, self.layout.rows_per_chunk)
        self._states[:, chunk, row] = states
        self.filled[positions] = True

    def seal(self, expected: Ints, identity: ShardIdentity) -> SealedShard:
        """The finished bytes, with checksums, tags and index.

        Raises StateRangeError for states that cannot be encoded.

        expected: the positions of all texts, each of which must have been put. Chunks without any
        are left out: in the index they are missing, which Zarr reads as the fill value.
        """
        missing = expected[~self.filled[expected]]
        if len(missing):
            raise AssertionError(f"{len(missing)} rows of the shard were never put: {missing[:5]}")
        used = np.unique(expected // self.layout.rows_per_chunk)
        self._blank(used)
        in_place = self.layout.encoding.in_place
        return self._plain(used, identity) if in_place else self._encoded(used, identity)

    def _blank(self, used: Ints) -> None:
        """Fill what was never put in the chunks in use."""
        empty = ~self.filled.reshape(-1, self.layout.rows_per_chunk)
        for chunk in used[empty[used].any(1)]:
            self._states[:, chunk, empty[chunk]] = np.nan

    @property
    def _chunks(self) -> NDArray[np.uint8]:
        """(layer, chunk, stride): the bytes of every chunk in the image."""
        layout = self.layout
        data = self._image[: layout.data_bytes]
        return data.reshape(layout.n_layers, layout.chunks_per_layer, layout.stride)

    def _plain(self, used: Ints, identity: ShardIdentity) -> SealedShard:
        """Sealed in place: chunks in use are moved together, if there are others."""
        layout = self.layout
        size = layout.n_layers * len(used) * layout.stride
        chunks = self._image[:size].reshape(layout.n_layers, len(used), layout.stride)
        if len(used) < layout.chunks_per_layer:
            for layer, of_layer in enumerate(self._chunks):
                chunks[layer] = of_layer[used]  # never behind its place: the next are still whole
        extents = np.full((layout.n_layers, layout.chunks_per_layer, 2), NO_CHUNK, "<u8")
        extents[:, used, 0] = np.arange(0, size, layout.stride).reshape(layout.n_layers, -1)
        extents[:, used, 1] = layout.chunk_bytes + CRC
        for layer, of_layer in enumerate(chunks):
            for number, chunk in zip(used.tolist(), of_layer, strict=True):
                ending = checksum(chunk[: layout.chunk_bytes]) + identity.tag(layer, number)
                chunk[layout.chunk_bytes :] = np.frombuffer(ending, np.uint8)
        index = _with_checksum(extents)
        end = size + len(index)
        self._image[size:end] = np.frombuffer(index, np.uint8)
        endings = chunks[:, :, layout.chunk_bytes :].tobytes()
        return SealedShard(self._image[:end].data, shard_digest(endings, index))

    def _encoded(self, used: Ints, identity: ShardIdentity) -> SealedShard:
        """Chunk by chunk into new bytes."""
        layout, filled = self.layout, self.filled.reshape(-1, self.layout.rows_per_chunk)
        extents = np.full((layout.n_layers, layout.chunks_per_layer, 2), NO_CHUNK, "<u8")
        image, endings = bytearray(), bytearray()
        for layer in range(layout.n_layers):
            for number in used.tolist():
                data = layout.encoding.encode(self._states[layer, number], filled[number])
                ending = checksum(data) + identity.tag(layer, number)
                extents[layer, number] = len(image), len(data) + CRC
                image += data
                image += ending
                endings += ending
        index = _with_checksum(extents)
        image += index
        return SealedShard(memoryview(image), shard_digest(bytes(endings), index))


def shard_digest(endings: bytes, index: bytes) -> str:
    """xxh3-128 of the crc32c and tag of every chunk, one behind the other, and of the index.

    As the checksums stand for the chunks, so this stands for the whole object, and who has checked
    each chunk need not hash its bytes again.
    """
    assert len(endings) % (CRC + TAG) == 0
    return xxhash.xxh3_128_hexdigest(endings + index)


def _room(layout: ShardLayout) -> Floats:
    """(layer, chunk, row in chunk, hidden): for states that are yet to be encoded."""
    chunk = layout.rows_per_chunk, layout.hidden_size
    return np.empty((layout.n_layers, layout.chunks_per_layer, *chunk), layout.dtype)


def _with_checksum(extents: NDArray[np.uint64]) -> bytes:
    body = extents.tobytes()
    return body + checksum(body)
