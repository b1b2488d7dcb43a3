"""Tags: what makes a chunk say which shard it belongs to.

A chunk's crc32c proves that its bytes are whole, not that they are the ones asked for: the shard of
another block, model or plan, copied over this one, passes every checksum. So each chunk carries a
tag of the commit it was written for and of its place. It stands behind the chunk's crc32c, where
Zarr's index points at nothing, so other readers step over it; a reader of ours compares it with
what the commit record says, in the same range of bytes as the chunk itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from actstore.store.shards.layout import TAG


@dataclass(frozen=True)
class ShardIdentity:
    """Which shard some bytes are: all that its commit record says of what is in it."""

    plan: str
    """Digest of the plan: model, checkpoint, weights, layers, dtype, …"""
    array: str
    """`mean_pool`, `tokens/sample/states`."""
    shard: int
    content: str
    """Digest of its texts' hashes, or of its tokens."""

    def tag(self, layer: int, chunk: int) -> bytes:
        """The tag of one chunk, by its layer's index and its number in the layer."""
        place = f"{self.plan}/{self.array}/{self.shard}/{self.content}/{layer}/{chunk}"
        return xxhash.xxh3_128_digest(place.encode())[:TAG]
