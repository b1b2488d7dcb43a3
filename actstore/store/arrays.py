"""Sharded arrays: (layer, row, hidden), written and committed a whole shard at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store.journal import Json
from actstore.store.ledger import Ledger, ShardStats
from actstore.store.shards import ShardBuilder, ShardLayout, ShardReader
from actstore.store.storage import join
from actstore.store.zarr_metadata import (
    begin_array,
    shard_key,
    sharded_array,
)


@dataclass(frozen=True)
class Shard:
    """A range of rows, written and committed as one."""

    index: int
    start: int
    stop: int
    rows: NDArray[np.int64]
    """The rows in it that hold something, ascending."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """The places of `rows` in the shard."""
        return self.rows - self.start


def shards_of(rows: NDArray[np.int64], used: NDArray[np.int64], size: int) -> list[Shard]:
    """The shards of `size` rows that hold any of `rows`; `used` are all rows in use, ascending."""
    shards = []
    for index in np.unique(rows // size).tolist():
        start, stop = index * size, (index + 1) * size
        low, high = np.searchsorted(used, [start, stop])
        shards.append(Shard(index, start, stop, used[low:high]))
    return shards


@dataclass
class ShardedArray:
    """One array of a checkpoint: what is done of it, writing and reading."""

    ledger: Ledger
    name: str
    """Under the checkpoint's group: `mean_pool`, `tokens/sample/states`."""
    layout: ShardLayout
    _known: set[int] = field(default_factory=set)

    @property
    def prefix(self) -> str:
        return join(self.ledger.prefix, self.name)

    def key(self, shard: int) -> str:
        """Where a shard lies in the store."""
        return shard_key(self.prefix, shard)

    def begin(self, n_rows: int, dims: tuple[str, ...], attributes: Mapping[str, Json]) -> None:
        """Create the array, or lengthen it to n_rows."""
        document = sharded_array(self.layout, n_rows, dims, attributes)
        begin_array(self.ledger.storage, self.prefix, document)

    def committed(self) -> set[int]:
        """The shards that are done, as the ledger says now."""
        self._known = self.ledger.committed(self.name)
        return self._known

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """The shards of some rows that are not done. Looks at the ledger only when it must."""
        wanted = set(np.unique(rows // self.layout.rows_per_shard).tolist())
        return [] if wanted <= self._known else sorted(wanted - self.committed())

    def commit(
        self, shard: Shard, builder: ShardBuilder, plan: str, content: bytes, stats: ShardStats
    ) -> dict[str, Json] | None:
        """Write a shard; return the record that makes it count, None if another process has it.

        content: what identifies the shard's texts (their hashes, or token ids).
        """
        return self.ledger.commit(
            array=self.name,
            shard=shard.index,
            key=self.key(shard.index),
            image=builder.seal(shard.positions),
            plan=plan,
            rows=(shard.start, shard.stop),
            content=content,
            stats=stats,
        )

    def read(self, layer_index: int, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Fill `out` (n, hidden), C-contiguous, with rows of one layer, strictly ascending.

        The shards must be done. Raises CorruptShardError for bytes that fail their checksum.
        """
        size = self.layout.rows_per_shard
        shards, first = np.unique(rows // size, return_index=True)
        bounds = [*first.tolist(), len(rows)]
        for place, index in enumerate(shards.tolist()):
            part = slice(bounds[place], bounds[place + 1])
            key = self.key(index)
            with self.ledger.storage.open(key) as reader:
                shard = ShardReader(reader, self.layout, key)
                shard.read(layer_index, rows[part] - index * size, out[part])

    def check(self, shard: int) -> None:
        """Read every chunk of a shard; CorruptShardError at the first that is damaged."""
        key = self.key(shard)
        with self.ledger.storage.open(key) as reader:
            ShardReader(reader, self.layout, key).check()
