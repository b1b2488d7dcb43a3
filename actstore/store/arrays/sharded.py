"""Sharded arrays: (layer, row, hidden), written and committed a whole shard at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.arrays.chunked import (
    shard_key,
)
from actstore.store.arrays.zarr_metadata import (
    begin_array,
    sharded_array,
)
from actstore.store.records.journal import Json
from actstore.store.records.ledger import Commit, Ledger, ShardStats, Written, digest
from actstore.store.shards import ShardBuilder, ShardIdentity, ShardLayout, ShardReader
from actstore.store.storage import each, join

_WORTH_A_REQUEST = 1 << 20
"""Bytes that come over a network in the time in which a request is answered."""


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
    _known: dict[int, Commit] = field(default_factory=dict)

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
        return set(self._known)

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """The shards of some rows that are not done. Looks at the ledger only when it must."""
        wanted = set(np.unique(rows // self.layout.rows_per_shard).tolist())
        return [] if wanted <= self._known.keys() else sorted(wanted - self.committed())

    def commit(
        self, shard: Shard, builder: ShardBuilder, plan: str, content: bytes, stats: ShardStats
    ) -> dict[str, Json] | None:
        """Write a shard; return the record that makes it count, None if another process has it.

        content: what identifies the shard's texts (their hashes, or token ids).
        """
        told = digest(content)
        identity = ShardIdentity(plan, self.name, shard.index, told)
        return self.ledger.commit(
            array=self.name,
            shard=shard.index,
            key=self.key(shard.index),
            sealed=builder.seal(shard.positions, identity),
            plan=plan,
            rows=(shard.start, shard.stop),
            content=told,
            stats=stats,
            look=lambda: self._look(identity),
        )

    def _look(self, identity: ShardIdentity) -> Written:
        """What is where a shard goes. CorruptShardError unless that is the shard, whole."""
        key = self.key(identity.shard)
        with self.ledger.storage.open(key) as reader:
            found = ShardReader(reader, self.layout, key, identity).check()
            return Written(reader.size, found)

    def read(
        self,
        layer_index: int,
        rows: NDArray[np.int64],
        out: NDArray[Any],
        threads: int | None = None,
    ) -> None:
        """Fill `out` (n, hidden), C-contiguous, with rows of one layer, strictly ascending.

        The shards must be done. threads: how many shards are read at once; None: as many as are
        worth it for the storage. Raises CorruptShardError for bytes that fail their checksum, or
        are another shard's.
        """
        size = self.layout.rows_per_shard
        shards, first = np.unique(rows // size, return_index=True)
        bounds = [*first.tolist(), len(rows)]

        def read_one(place: int) -> None:
            index, part = int(shards[place]), slice(bounds[place], bounds[place + 1])
            with self._opened(self._known[index]) as shard:
                shard.read(layer_index, rows[part] - index * size, out[part])

        each(self.ledger.storage, read_one, range(len(shards)), threads)

    def check(self, commit: Commit) -> None:
        """Read every byte of a shard; CorruptShardError for the first that is not as committed."""
        with self._opened(commit) as shard:
            if shard.check() != commit.digest:
                raise CorruptShardError(
                    f"{self.key(commit.shard)} is damaged: its checksums are not those committed"
                )

    @contextmanager
    def _opened(self, commit: Commit) -> Iterator[ShardReader]:
        key = self.key(commit.shard)
        with self.ledger.storage.open(key) as reader:
            committed = commit.identity, commit.n_bytes
            yield ShardReader(reader, self.layout, key, *committed, self._bridged)

    @property
    def _bridged(self) -> int:
        """Bytes that are read along, to spare a request where one takes its time."""
        return _WORTH_A_REQUEST if self.ledger.storage.threads > 1 else 0
