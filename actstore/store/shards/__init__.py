"""Shards: the rows of one block, all layers, as one Zarr v3 `sharding_indexed` object."""

from actstore.store.shards.builder import SealedShard, ShardBuilder
from actstore.store.shards.encodings import COMPACT, ENCODINGS, EXACT, SMALL, encoding_of
from actstore.store.shards.layout import (
    MAX_ROWS_PER_SHARD,
    MOST_HIDDEN,
    MOST_LAYERS,
    MOST_ROWS,
    Floats,
    Ints,
    ShardLayout,
    checksum,
    choose_layout,
)
from actstore.store.shards.reader import ShardReader
from actstore.store.shards.tags import ShardIdentity

__all__ = [
    "COMPACT",
    "ENCODINGS",
    "EXACT",
    "MAX_ROWS_PER_SHARD",
    "MOST_HIDDEN",
    "MOST_LAYERS",
    "MOST_ROWS",
    "SMALL",
    "Floats",
    "Ints",
    "SealedShard",
    "ShardBuilder",
    "ShardIdentity",
    "ShardLayout",
    "ShardReader",
    "checksum",
    "choose_layout",
    "encoding_of",
]
