"""Pooled states of one shard of a checkpoint, from its texts to its commit."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from actstore.extract.model.load import LoadedModel, device_name, library_versions
from actstore.extract.states.forward import ForwardSettings, pooled_states
from actstore.extract.states.pooling import named_poolings
from actstore.extract.states.token_metrics import TOKEN_METRICS
from actstore.extract.tokens import ShardTokens
from actstore.extract.work import Advance, Extracted, ShardWork, Tally
from actstore.extract.workers.lazy import LazyModel
from actstore.store import CheckpointGroup, Shard, ShardStats


@dataclass(frozen=True)
class PooledJob:
    """Everything that a shard of the pooled arrays lacks."""

    group: CheckpointGroup
    work: ShardWork
    model: LazyModel
    tokens: ShardTokens
    settings: ForwardSettings

    @property
    def unit(self) -> str:
        return f"pooled/{self.shard.index}"

    @property
    def shard(self) -> Shard:
        return self.work.shard

    def done(self) -> bool:
        index, group = self.shard.index, self.group
        return all(index in group.committed(name) for name in self.work.poolings) and all(
            index in group.committed_values(name) for name in self.work.token_metrics
        )

    def prepare(self) -> None:
        self.tokens.ahead(self.model.outline, self.shard)

    def run(self, advance: Advance) -> Extracted:
        start, largest = time.monotonic(), 0.0
        of_shard = self.tokens.of(self.model.outline, self.shard)
        model, rows = self.model.get(), self.shard.rows
        poolings = named_poolings(self.work.poolings)
        metrics = [TOKEN_METRICS[name] for name in self.work.token_metrics]
        builders = {name: self.group.new_builder() for name in self.work.poolings}
        shape = (len(self.settings.layers), len(rows))
        values = {metric.name: np.full(shape, np.nan, np.float32) for metric in metrics}
        token_ids, settings = of_shard.token_ids, self.settings
        for batch in pooled_states(model, token_ids, rows, poolings, settings, metrics):
            for name, states in batch.states.items():
                builders[name].put(self.shard.positions[batch.texts], states)
            for name, numbers in batch.values.items():
                values[name][:, batch.texts] = numbers
            largest = max(largest, batch.max_abs)
            advance(len(batch.texts))
        n_tokens, truncated = of_shard.n_tokens, of_shard.truncated
        tally = Tally(len(rows), int(n_tokens.sum()), int(truncated.sum()))
        stats = shard_stats(model, start, tally, largest)

        def commit() -> None:
            self.group.commit(self.shard, builders, n_tokens, truncated, stats, values)

        return Extracted(tally, commit)


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
