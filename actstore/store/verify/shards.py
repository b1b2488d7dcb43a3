"""Checks of committed shards: their bytes, their place, and the texts they are of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from actstore.errors import ActstoreError, CorruptShardError
from actstore.store.arrays.chunked import (
    shard_key,
)
from actstore.store.arrays.sharded import ShardedArray
from actstore.store.arrays.text_values import TextValues
from actstore.store.records.damage import Damage
from actstore.store.records.ledger import Commit, digest
from actstore.store.schema import TEXT_VALUES
from actstore.store.shards import ShardReader
from actstore.store.storage import Reader, join
from actstore.store.verify.finding import ALL_CHUNKS, Check, Chunks, Found, reason
from actstore.store.verify.ledgers import Recorded

if TYPE_CHECKING:
    from actstore.store.arrays.tokens import TokenSample
    from actstore.store.checkpoint import CheckpointGroup


class ShardChecks:
    """Checks of one checkpoint's shards."""

    def __init__(self, held: Recorded, *, quick: bool) -> None:
        group, commits = held.group, held.commits
        self._group, self._commits, self._quick = group, commits, quick
        self._plan = group.spec.digest()
        samples = {commit.array.split("/")[1] for commit in commits if _is_token(commit)}
        self._samples = {name: _sample(group, name) for name in samples}

    def checks(self) -> Iterator[Check]:
        """One for each shard."""
        for commit in self._commits:
            yield Check(
                n_bytes=commit.n_bytes,
                look=partial(self._look, commit),
                unreadable=partial(self._found, commit, chunks=self._everything()),
                unit=self._unit(commit),
            )

    def _look(self, commit: Commit) -> Iterator[Found]:
        if commit.plan != self._plan:
            yield self._found(commit, "it was made under another plan than its checkpoint's")
            return
        array = self._array(commit)
        if array is None:
            yield self._found(commit, "the group of its token sample is missing")
            return
        try:
            self._check(array, commit)
        except FileNotFoundError:
            yield self._found(commit, "it is missing", self._everything())
        except CorruptShardError as error:
            yield self._found(commit, reason(error), self._damaged(array, commit))
        else:
            if not self._quick and self._content_differs(commit):
                what = "the texts of its rows have changed"
                yield self._found(commit, what, self._everything())

    def _check(self, array: ShardedArray | TextValues, commit: Commit) -> None:
        if self._quick or isinstance(array, TextValues):
            with self._group.storage.open(array.key(commit.shard)) as reader:
                if reader.size != commit.n_bytes:
                    what = f"it has {reader.size} bytes, {commit.n_bytes} were committed"
                    raise CorruptShardError(what)
                if isinstance(array, ShardedArray):
                    _reader(array, commit, reader).check_index()
        if not self._quick:
            array.check(commit)

    def _damaged(self, array: ShardedArray | TextValues, commit: Commit) -> Chunks:
        if isinstance(array, TextValues):
            return self._everything()
        with self._group.storage.open(array.key(commit.shard)) as reader:
            return tuple(_reader(array, commit, reader).damaged())

    def _content_differs(self, commit: Commit) -> bool:
        """Whether its rows hold other texts now. Texts that cannot be read are found elsewhere."""
        rows = np.arange(*commit.rows)
        try:
            sample = self._samples[commit.array.split("/")[1]] if _is_token(commit) else None
            content = sample.content(rows) if sample else self._group.content(commit.array, rows)
        except (ActstoreError, OSError):
            return False
        return digest(content) != commit.content

    def _array(self, commit: Commit) -> ShardedArray | TextValues | None:
        if _is_token(commit):
            sample = self._samples[commit.array.split("/")[1]]
            return sample.array if sample else None
        return self._group.sharded_array(commit.array)

    def _everything(self) -> Chunks:
        return tuple((layer, ALL_CHUNKS) for layer in range(len(self._group.layers)))

    def _found(self, commit: Commit, what: str, chunks: Chunks = ()) -> Found:
        group, key = self._group, shard_key_of(self._group, commit.array, commit.shard)
        return Found(
            Damage(key, what, remade=True),
            commit.array,
            group.model,
            group.checkpoint,
            group,
            commit,
            chunks,
        )

    def _unit(self, commit: Commit) -> str:
        kind = f"tokens/{commit.array.split('/')[1]}" if _is_token(commit) else "pooled"
        return f"{self._group.model}/{self._group.checkpoint}/{kind}/{commit.shard}"


def shard_key_of(group: CheckpointGroup, array: str, shard: int) -> str:
    """Where a shard of an array lies in the store."""
    n_dims = 2 if array in TEXT_VALUES else 3
    return shard_key(join(group.prefix, array), shard, n_dims)


def _reader(array: ShardedArray, commit: Commit, reader: Reader) -> ShardReader:
    key = array.key(commit.shard)
    return ShardReader(reader, array.layout, key, commit.identity, commit.n_bytes)


def _sample(group: CheckpointGroup, name: str) -> TokenSample | None:
    try:
        return group.token_sample(name)
    except (ActstoreError, OSError):
        return None


def _is_token(commit: Commit) -> bool:
    return commit.array.startswith("tokens/")
