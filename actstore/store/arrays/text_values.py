"""Text values: one number of every text at every layer, from its token states.

A shard of them, all layers of the rows of one pooled shard, is one chunk of a plain Zarr array: it
is committed through the same ledger, and small enough to be read whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store import schema
from actstore.store.arrays.chunked import (
    chunk_size,
    decode_chunk,
    encode_chunk,
    shard_key,
)
from actstore.store.arrays.sharded import Shard
from actstore.store.arrays.zarr_metadata import (
    begin_array,
    layered_array,
)
from actstore.store.records.journal import Json
from actstore.store.records.ledger import Commit, Ledger, ShardStats, Written, digest
from actstore.store.shards import SealedShard
from actstore.store.storage import each, join

_LAST_BITS = 1e-3
"""How far values may differ, absolutely or relatively, that two machines computed."""


@dataclass
class TextValues:
    """One array (layer, text) of a checkpoint: what is done of it, writing and reading."""

    ledger: Ledger
    name: str
    """Under the checkpoint's group: `prompt_entropy`."""
    n_layers: int
    rows_per_shard: int
    _known: dict[int, Commit] = field(default_factory=dict)

    @property
    def declaration(self) -> schema.ArrayDeclaration:
        return schema.TEXT_VALUES[self.name]

    @property
    def prefix(self) -> str:
        return join(self.ledger.prefix, self.name)

    def key(self, shard: int) -> str:
        """Where a shard lies in the store."""
        return shard_key(self.prefix, shard, n_dims=2)

    def begin(self, n_rows: int) -> None:
        """Create the array, or lengthen it to n_rows."""
        begin_array(self.ledger.storage, self.prefix, self.document(n_rows))

    def document(self, n_rows: int) -> dict[str, Any]:
        """The array's Zarr document."""
        declared = self.declaration
        return layered_array(
            (self.n_layers, n_rows),
            declared.dtype,
            self.rows_per_shard,
            declared.dims,
            {"unit": declared.unit, "note": declared.meaning},
        )

    def committed(self) -> set[int]:
        """The shards that are done, as the ledger says now."""
        self._known = self.ledger.committed(self.name)
        return set(self._known)

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """The shards of some rows that are not done. Looks at the ledger only when it must."""
        wanted = set(np.unique(rows // self.rows_per_shard).tolist())
        return [] if wanted <= self._known.keys() else sorted(wanted - self.committed())

    def commit(
        self,
        shard: Shard,
        values: NDArray[np.float32],
        plan: str,
        content: bytes,
        stats: ShardStats,
    ) -> dict[str, Json] | None:
        """Write a shard; return the record that makes it count, None if another process has it.

        values: (layer, rows in the shard), for `shard.rows` in order; NaN where undefined.
        """
        expected = (self.n_layers, len(shard.rows))
        if values.shape != expected or values.dtype != np.float32:
            raise TypeError(
                f"{self.name} is {values.dtype} {values.shape}, the shard takes float32 {expected}"
            )
        chunk = np.full((self.n_layers, self.rows_per_shard), np.nan, np.float32)
        chunk[:, shard.positions] = values
        image = encode_chunk(chunk)
        return self.ledger.commit(
            array=self.name,
            shard=shard.index,
            key=self.key(shard.index),
            sealed=SealedShard(memoryview(image), digest(image)),
            plan=plan,
            rows=(shard.start, shard.stop),
            content=digest(content),
            stats=stats,
            look=lambda: self._look(shard.index, chunk),
        )

    def _look(self, shard: int, values: NDArray[np.float32]) -> Written:
        """What is where a shard goes. CorruptShardError unless that is these values, whole.

        Another machine may have computed them, so the last bits may differ.
        """
        data = self.ledger.storage.read(self.key(shard))
        found = self._decoded(shard, data)
        if not np.allclose(found, values, rtol=_LAST_BITS, atol=_LAST_BITS, equal_nan=True):
            raise CorruptShardError(f"{self.key(shard)} holds other values than were computed")
        return Written(len(data), digest(data))

    def read(self, layers: Sequence[int], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Values of some rows, in any order: (layer, n). layers: indices in the array.

        The shards must be done. Raises CorruptShardError for bytes that fail their checksum.
        """
        out = np.empty((len(layers), len(rows)), np.float32)
        shards, in_shard = np.divmod(rows, self.rows_per_shard)

        def read_one(index: int) -> None:
            (places,) = np.nonzero(shards == index)
            chunk = self._read_shard(self._known[index])
            out[:, places] = chunk[np.asarray(layers)[:, None], in_shard[places]]

        each(self.ledger.storage, read_one, np.unique(shards).tolist())
        return out

    def check(self, commit: Commit) -> None:
        """Read a shard; CorruptShardError if it is not what was committed."""
        self._read_shard(commit)

    def _read_shard(self, commit: Commit) -> NDArray[np.float32]:
        key = self.key(commit.shard)
        data = self.ledger.storage.read(key)
        values = self._decoded(commit.shard, data)
        if digest(data) != commit.digest:
            raise CorruptShardError(
                f"{key} is damaged: its bytes are another shard's, or altered. "
                "Run: actstore verify STORE"
            )
        return values

    def _decoded(self, shard: int, data: bytes) -> NDArray[np.float32]:
        try:
            if len(data) != chunk_size(self.n_layers * self.rows_per_shard, self.declaration.dtype):
                raise ValueError(f"it has {len(data)} bytes")
            values = decode_chunk(data, self.declaration.dtype)
            return values.reshape(self.n_layers, self.rows_per_shard)
        except ValueError as error:
            raise CorruptShardError(
                f"{self.key(shard)} is damaged: {error}. Run: actstore verify STORE"
            ) from error
