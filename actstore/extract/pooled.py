"""Pooled states of a checkpoint: its shards, one after the other, into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from actstore.errors import ActstoreError
from actstore.extract.forward import ForwardSettings, pooled_states
from actstore.extract.lazy import LazyModel
from actstore.extract.load import LoadedModel, device_name, library_versions
from actstore.extract.pooling import named_poolings
from actstore.extract.tokens import ShardTokens
from actstore.extract.work import ShardWork
from actstore.progress import progress
from actstore.store import CheckpointGroup, Shard, ShardStats

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Tally:
    """What went through the model."""

    n_texts: int = 0
    n_tokens: int = 0
    n_truncated: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.n_texts + other.n_texts,
            self.n_tokens + other.n_tokens,
            self.n_truncated + other.n_truncated,
        )


def extract_pooled(
    group: CheckpointGroup,
    work: Sequence[ShardWork],
    model: LazyModel,
    tokens: ShardTokens,
    settings: ForwardSettings,
) -> Tally:
    """Extract and commit shards in order. Those before an error stay done."""
    tally, total = Tally(), sum(len(part.shard.rows) for part in work)
    with progress(f"Extracting {group.checkpoint}", total, "texts") as advance:
        for part in work:
            with naming(part.shard, group):
                tally += _extract_shard(group, part, model, tokens, settings, advance)
    return tally


@contextmanager
def naming(shard: Shard, group: CheckpointGroup) -> Iterator[None]:
    """Add to an error what was being extracted."""
    try:
        yield
    except ActstoreError as error:
        where = f"{shard.start}:{shard.stop} of {group.model} at {group.checkpoint}"
        error.add_note(f"while extracting the shard {where}")
        raise


def shard_stats(model: LoadedModel, start: float, tally: Tally, max_abs: float) -> ShardStats:
    """The record of a shard begun at time.monotonic() == start."""
    return ShardStats(
        seconds=time.monotonic() - start,
        n_tokens=tally.n_tokens,
        n_truncated=tally.n_truncated,
        max_abs=max_abs,
        device=device_name(model.device),
        versions=library_versions(),
    )


def _extract_shard(
    group: CheckpointGroup,
    part: ShardWork,
    model: LazyModel,
    tokens: ShardTokens,
    settings: ForwardSettings,
    advance: Advance,
) -> Tally:
    start, shard, largest = time.monotonic(), part.shard, 0.0
    of_shard = tokens.of(model.outline, shard)
    poolings = named_poolings(part.poolings)
    builders = {name: group.new_builder() for name in part.poolings}
    for batch in pooled_states(model.get(), of_shard.token_ids, shard.rows, poolings, settings):
        for name, states in batch.states.items():
            builders[name].put(shard.positions[batch.texts], states)
        largest = max(largest, batch.max_abs)
        advance(len(batch.texts))
    tally = Tally(len(shard.rows), int(of_shard.n_tokens.sum()), int(of_shard.truncated.sum()))
    stats = shard_stats(model.get(), start, tally, largest)
    group.commit(shard, builders, of_shard.n_tokens, of_shard.truncated, stats)
    return tally
