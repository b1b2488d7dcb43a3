"""Token-level samples: the states of every token of chosen texts, shard by shard."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from actstore.extract.states.forward import TOKEN_STATES, ForwardSettings, token_states
from actstore.extract.work import Advance, Extracted, Tally
from actstore.extract.workers.lazy import LazyModel
from actstore.extract.workers.pooled import shard_stats
from actstore.store import Shard, TokenSample


@dataclass(frozen=True)
class SampleJob:
    """One shard of a token-level sample."""

    sample: TokenSample
    shard: Shard
    model: LazyModel
    settings: ForwardSettings

    @property
    def unit(self) -> str:
        return f"tokens/{self.sample.name}/{self.shard.index}"

    def done(self) -> bool:
        return self.shard.index in self.sample.array.committed()

    def prepare(self) -> None:
        """Its tokens are in the store already."""

    def run(self, advance: Advance) -> Extracted:
        begun, builder, largest = time.monotonic(), self.sample.new_builder(), 0.0
        spans, start, stop = self.sample.spans, self.shard.start, self.shard.stop
        inside = spans["start"].between(start, stop, inclusive="left")
        rows, starts, stops = (
            spans.loc[inside, column].to_numpy(np.int64) for column in ("row", "start", "stop")
        )
        token_ids = [self.sample.token_id[a:b] for a, b in zip(starts, stops, strict=True)]
        for batch in token_states(self.model.get(), token_ids, rows, self.settings):
            tokens = np.concatenate([np.arange(starts[i], stops[i]) for i in batch.texts])
            builder.put(tokens - start, batch.states[TOKEN_STATES])
            largest = max(largest, batch.max_abs)
            advance(len(batch.texts))
        tally = Tally(len(rows), len(self.shard.rows))
        stats = shard_stats(self.model.get(), begun, tally, largest)
        return Extracted(tally, lambda: self.sample.commit(self.shard, builder, stats))
