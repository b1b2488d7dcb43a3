"""Commit records: which shards of a checkpoint's arrays are done, and what exactly was committed.

A shard is done if its object exists and the ledger has a record of it. The object is written
first, the record last, both flushed: after a crash at any moment a shard is either done or to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import xxhash

from actstore.store.journal import Json, append_records, read_records
from actstore.store.storage import Buffer, Storage, join


@dataclass(frozen=True)
class ShardStats:
    """How a shard was made; kept in its commit record."""

    seconds: float
    n_tokens: int
    n_truncated: int
    max_abs: float
    """Largest absolute value of the shard's states."""
    device: str
    versions: dict[str, str]


def digest(data: Buffer) -> str:
    """xxh3-128 of some bytes, in hex."""
    return xxhash.xxh3_128_hexdigest(data)


@dataclass
class Ledger:
    """The records of one checkpoint."""

    storage: Storage
    prefix: str
    """The checkpoint's group."""

    @property
    def folder(self) -> str:
        return join(self.prefix, "ledger")

    def records(self) -> list[dict[str, Any]]:
        """The record that counts for every (array, shard): the latest one."""
        latest = {(r["array"], r["shard"]): r for r in read_records(self.storage, self.folder)}
        return list(latest.values())

    def committed(self, array: str) -> set[int]:
        """The shards of an array that are done."""
        recorded = {cast(int, r["shard"]) for r in self.records() if r["array"] == array}
        return self.present(array) & recorded

    def present(self, array: str) -> set[int]:
        """The shards of an array whose objects exist, recorded or not."""
        names = self.storage.names(join(self.prefix, array))
        return {int(name.split(".")[2]) for name in names if name.startswith("c.")}

    def commit(
        self,
        *,
        array: str,
        shard: int,
        key: str,
        image: memoryview,
        plan: str,
        rows: tuple[int, int],
        content: bytes,
        stats: ShardStats,
    ) -> dict[str, Json] | None:
        """Write a shard's object and return the record that `record` makes it count by.

        An object without a record is what a killed process left: it is replaced. One that
        another process has committed meanwhile is kept.

        key: where the object goes. content: what identifies the shard's texts.
        """
        try:
            self.storage.create(key, image)
        except FileExistsError:
            if shard in self.committed(array):
                return None
            self.storage.replace(key, image)
        return {
            "array": array,
            "shard": shard,
            "plan": plan,
            "rows": list(rows),
            "content": digest(content),
            "bytes": len(image),
            "digest": digest(image),
            "seconds": round(stats.seconds, 3),
            "n_tokens": stats.n_tokens,
            "n_truncated": stats.n_truncated,
            "max_abs": stats.max_abs,
            "device": stats.device,
            "versions": cast(Json, stats.versions),
        }

    def record(self, records: list[dict[str, Json] | None]) -> None:
        """Make shards count as done, durably."""
        append_records(self.storage, self.folder, [r for r in records if r is not None])
