"""Shards whose bytes are the same in the target: copied with their commit records.

Chunks carry a tag of plan, array, shard and texts. Where these agree, so do the bytes, whichever
store they are in. Each shard is checked as it passes, and counts in the target once its record is
written there, behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from actstore.errors import CorruptShardError, PlanMismatchError
from actstore.store.arrays.chunked import (
    chunk_key,
)
from actstore.store.arrays.sharded import ShardedArray
from actstore.store.arrays.text_values import TextValues
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.moving.records import plain
from actstore.store.moving.rows import Rows
from actstore.store.records.ledger import Commit, digest
from actstore.store.schema import N_TOKENS, TRUNCATED
from actstore.store.shards import ShardReader
from actstore.store.storage import each, join

_AT_ONCE = 8
"""Shards between two writes to the ledger."""
_MOST_THREADS = 4
"""A shard is held in memory whole: up to 256 MiB for each."""


@dataclass(frozen=True)
class _Held:
    """A reader of bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        part = self.data[offset : offset + len(buffer)]
        if len(part) < len(buffer):
            raise CorruptShardError(f"it ends at byte {len(self.data)}")
        buffer[:] = part


def shards_to_copy(
    source: CheckpointGroup, done: set[int], name: str, wanted: Rows
) -> dict[int, dict[str, Any]]:
    """The records of an array's shards that are in the source and not in the target, by shard.

    done: those that are in the target. wanted: shards that are asked for.
    """
    there = source.ledger.present(name)
    asked = (there & set(wanted.tolist())) - done
    records = (plain(one) for one in source.ledger.records() if one["array"] == name)
    return {one["shard"]: one for one in records if one["shard"] in asked}


def copy_shards(
    source: CheckpointGroup,
    target: CheckpointGroup,
    name: str,
    wanted: Rows,
    advance: Callable[[int], None],
) -> None:
    """Copy the shards of an array whose plan, layout and texts are the same in both.

    Raises CorruptShardError for one that is damaged in the source: it is not copied.
    """
    ours, theirs = target.sharded_array(name), source.sharded_array(name)
    if not _same_layout(ours, theirs) or source.spec.digest() != target.spec.digest():
        return
    todo = shards_to_copy(source, ours.committed(), name, wanted)
    used = target.texts.rows()
    fitting = [one for one in todo.values() if _same_texts(target, used, one)]
    n_threads = max(source.storage.threads, target.storage.threads)

    def copy(record: dict[str, Any]) -> dict[str, Any]:
        data = _checked(source, theirs, Commit.of(record))
        if not name.startswith("tokens/"):
            _copy_lengths(source, target, record["shard"])
        key = ours.key(record["shard"])
        try:
            target.storage.create(key, data)
        except FileExistsError:  # without a record: what a killed process left
            target.storage.replace(key, data)
        advance(len(data))
        return {**record, "at": time.time()}

    for batch in _batches(fitting):
        written = each(target.storage, copy, batch, min(n_threads, _MOST_THREADS))
        target.ledger.record([*written])


def _batches(records: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(records), _AT_ONCE):
        yield records[start : start + _AT_ONCE]


def _same_layout(ours: ShardedArray | TextValues, theirs: ShardedArray | TextValues) -> bool:
    if isinstance(ours, ShardedArray) and isinstance(theirs, ShardedArray):
        return ours.layout == theirs.layout
    if isinstance(ours, TextValues) and isinstance(theirs, TextValues):
        return ours.rows_per_shard == theirs.rows_per_shard
    return False


def _same_texts(target: CheckpointGroup, used: Rows, record: dict[str, Any]) -> bool:
    """Whether the target's texts in a shard's rows are those that the shard was made of.

    used: all rows of the target that hold a text.
    """
    if record["array"].startswith("tokens/"):
        content = target.content(record["array"], np.arange(*record["rows"]))
    else:
        low, high = np.searchsorted(used, record["rows"])
        content = target.texts.hashes_of(used[low:high]).tobytes()
    return digest(content) == str(record["content"])


def _checked(source: CheckpointGroup, array: ShardedArray | TextValues, commit: Commit) -> bytes:
    """The bytes of a shard, all of them compared with what was committed."""
    key = array.key(commit.shard)
    data = source.storage.read(key)
    if isinstance(array, ShardedArray):
        held = ShardReader(_Held(data), array.layout, key, commit.identity, commit.n_bytes)
        found = held.check()
    else:
        found = digest(data)
    if found != commit.digest:
        raise CorruptShardError(
            f"{key} of {source.storage.url} is damaged: it is not what was committed. "
            f"Run: actstore verify {source.storage.url}"
        )
    return data


def _copy_lengths(source: CheckpointGroup, target: CheckpointGroup, shard: int) -> None:
    """A shard's chunks of the model's n_tokens and truncated."""
    for declared in (N_TOKENS, TRUNCATED):
        key = chunk_key(join(source.model_prefix, declared.name), shard, 1)
        data = source.storage.read(key)
        with suppress(FileExistsError):
            target.storage.create(key, data)
            continue
        if target.storage.read(key) != data:
            raise PlanMismatchError(
                f"{target.storage.url} and {source.storage.url} disagree about {key}: their "
                "checkpoints tokenised the same texts differently. Use another store."
            )
