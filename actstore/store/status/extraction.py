"""How far the extraction of a store is, from its ledgers, leases and run logs alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from actstore.store.arrays.zarr_metadata import (
    read_shape,
)
from actstore.store.records.journal import read_fields
from actstore.store.records.ledger import Ledger
from actstore.store.records.runs import RunError, run_errors
from actstore.store.sharing.leases import LeaseInfo, live_leases
from actstore.store.status.pace import Record, pace, window
from actstore.store.storage import each, join

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup
    from actstore.store.store import Store

_FIELDS = pa.schema(
    {
        "at": pa.float64(),
        "array": pa.string(),
        "shard": pa.int64(),
        "seconds": pa.float64(),
        "n_tokens": pa.int64(),
    }
)
"""What of a commit record says how far an extraction is."""


@dataclass(frozen=True)
class ArrayStatus:
    """How far one array of a checkpoint is."""

    array: str
    """As in its commit records: `mean_pool`, `prompt_entropy`, `tokens/sample/states`."""
    done: int
    total: int
    """Shards that hold any of the store's texts, or of the sample's tokens."""


@dataclass(frozen=True)
class ShardProgress:
    """Shards done, and when the rest will be."""

    done: int
    total: int
    tokens_per_second: float | None
    """Of all workers together over the last minutes; None where nothing was committed."""
    seconds_left: float | None
    """At that pace; 0 where all is done, None where nobody is at work or no pace is known."""
    shards_per_second: float | None = None
    """Likewise."""


@dataclass(frozen=True)
class CheckpointStatus:
    """How far one checkpoint is."""

    model: str
    checkpoint: str
    progress: ShardProgress
    """Over all its arrays."""
    arrays: tuple[ArrayStatus, ...]
    last_commit: float | None
    """Seconds since 1970."""
    workers: tuple[str, ...]
    """Those that hold a lease on a part of it."""
    last_error: RunError | None


@dataclass(frozen=True)
class ModelStatus:
    """How far the checkpoints of a model are that were begun, in training order."""

    model: str
    progress: ShardProgress
    checkpoints: tuple[CheckpointStatus, ...]


@dataclass(frozen=True)
class StoreStatus:
    """How far extraction is."""

    url: str
    models: tuple[ModelStatus, ...]
    leases: tuple[LeaseInfo, ...]
    """Of the workers alive: what each is at."""
    last_error: RunError | None
    """The last one of any run that does not belong to one checkpoint."""


def extraction_status(store: Store) -> StoreStatus:
    """How many shards of every array are done, of those that hold any of the store's texts.

    Reads metadata, ledgers, leases and run logs; no states and no weights. Only checkpoints that
    were begun are known to the store.
    """
    look = _Look(store)
    return StoreStatus(
        url=store.url,
        models=tuple(look.model(name) for name in store.models()),
        leases=tuple(look.leases),
        last_error=_last([error for error in look.errors if error.checkpoint is None]),
    )


class _Look:
    """One look at a store: what all its checkpoints share is read once."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, time.time()
        self.leases = live_leases(store.storage)
        self.errors = run_errors(store.storage)
        self.spans = store.text_spans()

    def model(self, name: str) -> ModelStatus:
        groups = self.store.checkpoint_groups(name, self.store.checkpoints(name))
        shards = _shards(self.spans, groups[0]) if groups else set()

        def look(group: CheckpointGroup) -> tuple[CheckpointStatus, list[Record]]:
            commits = _commits(group.ledger, self.now)
            return self._checkpoint(group, shards, commits), commits.recent

        looked = each(self.store.storage, look, groups)
        found = [status for status, _ in looked]
        records = [record for _, recent in looked for record in recent]
        at_work = any(one.workers for one in found)
        counts = [one.progress for one in found]
        progress = self._progress(counts, records, at_work=at_work)
        return ModelStatus(name, progress, tuple(found))

    def _checkpoint(
        self, group: CheckpointGroup, shards: set[int], commits: _Commits
    ) -> CheckpointStatus:
        arrays = tuple(
            ArrayStatus(name, len(commits.shards.get(name, set()) & wanted & present), len(wanted))
            for name, wanted in _wanted(group, shards).items()
            for present in [group.ledger.present(name)]
        )
        unit = f"{group.model}/{group.checkpoint}/"
        workers = sorted({one.worker for one in self.leases if one.unit.startswith(unit)})
        name = (group.model, group.checkpoint)
        return CheckpointStatus(
            *name,
            progress=self._progress(arrays, commits.recent, at_work=bool(workers)),
            arrays=arrays,
            last_commit=commits.last,
            workers=tuple(workers),
            last_error=_last([e for e in self.errors if (e.model, e.checkpoint) == name]),
        )

    def _progress(
        self,
        parts: Sequence[ArrayStatus] | Sequence[ShardProgress],
        records: Sequence[Record],
        *,
        at_work: bool,
    ) -> ShardProgress:
        done, total = sum(part.done for part in parts), sum(part.total for part in parts)
        left: float | None = 0.0 if done == total and parts else None
        if (found := pace(records, self.now)) is None:
            return ShardProgress(done, total, None, left)
        if done < total and at_work:
            left = (total - done) / found.shards_per_second
        return ShardProgress(done, total, found.tokens_per_second, left, found.shards_per_second)


@dataclass(frozen=True)
class _Commits:
    """What the commit records of a checkpoint say."""

    shards: dict[str, set[int]]
    """Those recorded, by array."""
    recent: list[Record]
    """Those of the last minutes."""
    last: float | None
    """When the last was made."""


def _commits(ledger: Ledger, now: float) -> _Commits:
    table = read_fields(ledger.storage, ledger.folder, _FIELDS).drop_null().sort_by("at")
    at, shards = table["at"].to_numpy(), dict[str, set[int]]()
    for array, shard in zip(table["array"].to_pylist(), table["shard"].to_pylist(), strict=True):
        shards.setdefault(array, set()).add(shard)
    lately = table.filter(pa.array(now - at <= window(table["seconds"].to_numpy())))
    latest = {(record["array"], record["shard"]): record for record in lately.to_pylist()}
    return _Commits(shards, list(latest.values()), float(at[-1]) if len(at) else None)


def _shards(spans: Sequence[tuple[int, int]], group: CheckpointGroup) -> set[int]:
    """The shards that hold any of the store's texts, the same for all checkpoints of a model."""
    size = group.layout.rows_per_shard
    return {shard for first, end in spans for shard in range(first // size, -(-end // size))}


def _wanted(group: CheckpointGroup, shards: set[int]) -> dict[str, set[int]]:
    """The shards that each array of a checkpoint has when it is complete."""
    over_texts = [*(f"{pooling}_pool" for pooling in group.poolings()), *group.text_values()]
    return dict.fromkeys(over_texts, shards) | {
        sample.array.name: set(range(-(-n_tokens // sample.layout.rows_per_shard)))
        for sample in map(group.token_sample, group.token_samples())
        for _, n_tokens, _ in [read_shape(group.storage, join(group.prefix, sample.array.name))]
    }


def _last(errors: list[RunError]) -> RunError | None:
    return errors[-1] if errors else None
