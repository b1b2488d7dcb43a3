"""Commit records: which shards of a checkpoint's arrays are done, and what exactly was committed.

A shard is done if its object exists and the ledger has a record of it. The object is written
first, the record last, both flushed: after a crash at any moment a shard is either done or to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import xxhash

from actstore.store.journal import Json, append_records, read_records
from actstore.store.shards import SealedShard, ShardIdentity
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


@dataclass(frozen=True)
class Commit:
    """What a commit record says of what is in a shard."""

    array: str
    shard: int
    plan: str
    rows: tuple[int, int]
    """The first, and the one behind the last."""
    content: str
    """Digest of its rows' text hashes, or of its token ids."""
    n_bytes: int
    digest: str
    """Of a sharded array's `shard_digest`; otherwise of the object's bytes."""

    @property
    def identity(self) -> ShardIdentity:
        return ShardIdentity(self.plan, self.array, self.shard, self.content)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Commit:
        """Of a record as it was read."""
        names = ("array", "shard", "plan", "content", "digest")
        start, stop = record["rows"]
        told = {name: record[name] for name in names}
        return cls(**told, rows=(start, stop), n_bytes=record["bytes"])


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

    def committed(self, array: str) -> dict[int, Commit]:
        """The shards of an array that are done, and what was committed."""
        there = self.present(array)
        recorded = (Commit.of(r) for r in self.records() if r["array"] == array)
        return {commit.shard: commit for commit in recorded if commit.shard in there}

    def present(self, array: str) -> set[int]:
        """The shards of an array whose objects exist, recorded or not."""
        names = self.storage.names(join(self.prefix, array))
        return {int(name.split(".")[2]) for name in names if name.startswith("c.")}

    def unrecorded(self, array: str) -> set[int]:
        """The shards of an array whose objects exist without a record: they are to do.

        They are what a killed writer leaves, or what a ledger recorded that has lost lines.
        """
        return self.present(array) - self.committed(array).keys()

    def commit(
        self,
        *,
        array: str,
        shard: int,
        key: str,
        sealed: SealedShard,
        plan: str,
        rows: tuple[int, int],
        content: str,
        stats: ShardStats,
    ) -> dict[str, Json] | None:
        """Write a shard's object and return the record that `record` makes it count by.

        An object without a record is what a killed process left: it is replaced. One that
        another process has committed meanwhile is kept.

        key: where the object goes. content: digest of what identifies the shard's texts.
        """
        try:
            self.storage.create(key, sealed.image)
        except FileExistsError:
            if shard in self.committed(array):
                return None
            self.storage.replace(key, sealed.image)
        return {
            "array": array,
            "shard": shard,
            "plan": plan,
            "rows": list(rows),
            "content": content,
            "bytes": len(sealed.image),
            "digest": sealed.digest,
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
