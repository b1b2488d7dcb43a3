"""Commit records: which shards of a checkpoint's arrays are done, and what exactly was committed.

A shard is done if its object exists and the ledger has a record of it. The object is written
first, the record last, both flushed: after a crash at any moment a shard is either done or to do.

An object that is sound is never replaced. Who finds one without a record, of a process that was
killed or has not come to record it yet, records that one and drops its own: two machines may
compute states that differ in their last bits, and so all records of a shard agree with its object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import xxhash

from actstore.errors import CorruptShardError
from actstore.store.records.documents import (
    Fields,
    is_finite,
    is_key,
    is_text,
    is_whole,
    whole_from,
)
from actstore.store.records.journal import Json, append_records, read_fields, read_records
from actstore.store.shards import MOST_ROWS, SealedShard, ShardIdentity
from actstore.store.storage import Buffer, Storage, join
from actstore.store.texts.distinct import distinct

_SHARD = re.compile(r"(?P<checkpoint>models/[^/]+/[^/]+)/(?P<array>.+)/c\.0\.(?P<shard>\d+)(\.0)?")
"""The key of a shard."""


_MOST_SHARDS = 1 << 31
_NUMBER = re.compile(r"c\.0\.([0-9]{1,10})(\.0)?")
"""What a shard's object is called."""


def _is_span(value: object) -> bool:
    """The first of some rows, and the one behind the last."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_whole, value)):
        return False
    start, stop = value
    return bool(0 <= start <= stop <= start + MOST_ROWS)


RECORD: Fields = {
    "array": is_key,
    "shard": whole_from(0, _MOST_SHARDS),
    "plan": is_text,
    "rows": _is_span,
    "content": is_text,
    "bytes": whole_from(0),
    "digest": is_text,
}
"""What a commit record must have."""
REMOVAL: Fields = {"array": is_key, "shard": is_whole, "recorded_at": is_finite}
_SIZES = pa.schema(
    [("at", pa.float64()), ("array", pa.string()), ("shard", pa.int64()), ("bytes", pa.int64())]
)


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


@dataclass(frozen=True)
class Written:
    """What is in an object, as its commit record says it."""

    n_bytes: int
    digest: str


def digest(data: Buffer) -> str:
    """xxh3-128 of some bytes, in hex."""
    return xxhash.xxh3_128_hexdigest(data)


@dataclass
class Ledger:
    """The records of one checkpoint."""

    storage: Storage
    prefix: str
    """The checkpoint's group."""
    plan: str | None = None
    """Of the checkpoint: a shard that was made under another is not done. None: any counts."""

    @property
    def folder(self) -> str:
        return join(self.prefix, "ledger")

    @property
    def removed_folder(self) -> str:
        """The folder of the journals of records that count no more."""
        return join(self.folder, "removed")

    def records(self) -> list[dict[str, Any]]:
        """The record that counts for every (array, shard): the latest one."""
        records = read_records(self.storage, self.folder, RECORD)
        return counting(records, read_records(self.storage, self.removed_folder, REMOVAL))

    def n_bytes(self) -> int:
        """Of all shards that are recorded. Makes no object of a record, and checks none."""
        if self.storage.names(self.removed_folder):
            return sum(record["bytes"] for record in self.records())
        table = read_fields(self.storage, self.folder, _SIZES)
        latest = distinct(table.sort_by([("at", "descending")]), ["array", "shard"])
        return sum(size for size in latest["bytes"].to_pylist() if size is not None)

    def committed(self, array: str) -> dict[int, Commit]:
        """The shards of an array that are done, and what was committed."""
        there = self.present(array)
        recorded = (Commit.of(r) for r in self.records() if r["array"] == array)
        counts = [commit for commit in recorded if self.plan in (None, commit.plan)]
        return {commit.shard: commit for commit in counts if commit.shard in there}

    def present(self, array: str) -> set[int]:
        """The shards of an array whose objects exist, recorded or not."""
        return set(self._objects(array))

    def _objects(self, array: str) -> dict[int, str]:
        """The keys of an array's shards, by number."""
        prefix = join(self.prefix, array)
        found = map(_NUMBER.fullmatch, self.storage.names(prefix))
        return {int(one[1]): join(prefix, one[0]) for one in found if one}

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
        look: Callable[[], Written],
    ) -> dict[str, Json] | None:
        """Write a shard's object and return the record that `record` makes it count by.

        None if another process has committed it meanwhile. An object without a record is kept and
        recorded if it is sound, and replaced if not.

        key: where the object goes. content: digest of what identifies the shard's texts. look: what
        is at the key; raises CorruptShardError for what is not this shard, whole.
        """
        written = Written(len(sealed.image), sealed.digest)
        while True:
            try:
                self.storage.create(key, sealed.image)
                break
            except FileExistsError:
                if shard in self.committed(array):
                    return None
            try:
                written = look()
                break
            except FileNotFoundError:  # removed just now, as damaged
                continue
            except CorruptShardError:
                self.storage.replace(key, sealed.image)
                break
        return {
            "array": array,
            "shard": shard,
            "plan": plan,
            "rows": list(rows),
            "content": content,
            "bytes": written.n_bytes,
            "digest": written.digest,
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

    def remove(self, array: str, shards: Iterable[int]) -> None:
        """Take shards away, which are to do again then.

        Their records end first, and by name: whatever object comes next, an old record does not
        speak for it, whichever clock its new one is written by.
        """
        wanted = set(shards)
        gone = [
            {"array": array, "shard": r["shard"], "recorded_at": r["at"]}
            for r in read_records(self.storage, self.folder, RECORD)
            if r["array"] == array and r["shard"] in wanted
        ]
        append_records(self.storage, self.removed_folder, gone)
        for shard, key in self._objects(array).items():
            if shard in wanted:
                self.storage.delete(key)


def counting(records: list[dict[str, Any]], removed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of records, oldest first, the latest of every shard, but for those that were removed."""
    gone = {_name_of(record, "recorded_at") for record in removed}
    standing = [record for record in records if _name_of(record, "at") not in gone]
    return list({(record["array"], record["shard"]): record for record in standing}.values())


def remove_object(storage: Storage, key: str) -> None:
    """Remove an object; a shard in such a way that it is to do again, as `Ledger.remove` does."""
    if found := _SHARD.fullmatch(key):
        Ledger(storage, found["checkpoint"]).remove(found["array"], [int(found["shard"])])
    storage.delete(key)


def _name_of(record: dict[str, Any], at: str) -> tuple[str, int, float]:
    """What tells a record from all others. at: the field that says when it was written."""
    return record["array"], record["shard"], record[at]
