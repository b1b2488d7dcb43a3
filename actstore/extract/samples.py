"""Token-level samples: the states of every token of chosen texts, at every layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from actstore.extract.forward import TOKEN_STATES, ForwardSettings, token_states
from actstore.extract.lazy import LazyModel
from actstore.extract.pooled import Tally, naming, shard_stats
from actstore.progress import progress
from actstore.store import CheckpointGroup, Shard, TokenisedText, TokenSample


def extract_sample(
    group: CheckpointGroup,
    name: str,
    texts: Sequence[TokenisedText],
    model: LazyModel,
    settings: ForwardSettings,
) -> Tally:
    """Begin or join a sample, and extract what is not done of it.

    Raises PlanMismatchError if a sample of that name holds other texts.
    """
    sample = group.begin_token_sample(name, texts)
    work, tally = sample.todo(), Tally()
    total = sum(len(shard.rows) for shard in work)
    with progress(f"Token sample of {group.checkpoint}", total, "tokens") as advance:
        for shard in work:
            with naming(shard, group):
                tally += _extract_shard(sample, shard, model, settings, advance)
    return tally


def _extract_shard(
    sample: TokenSample,
    shard: Shard,
    model: LazyModel,
    settings: ForwardSettings,
    advance: Callable[[int], None],
) -> Tally:
    begun, builder, largest = time.monotonic(), sample.new_builder(), 0.0
    inside = sample.spans["start"].between(shard.start, shard.stop, inclusive="left")
    rows, starts, stops = (
        sample.spans.loc[inside, column].to_numpy(np.int64) for column in ("row", "start", "stop")
    )
    token_ids = [sample.token_id[a:b] for a, b in zip(starts, stops, strict=True)]
    for batch in token_states(model.get(), token_ids, rows, settings):
        tokens = np.concatenate([np.arange(starts[i], stops[i]) for i in batch.texts])
        builder.put(tokens - shard.start, batch.states[TOKEN_STATES])
        largest = max(largest, batch.max_abs)
        advance(len(tokens))
    tally = Tally(len(rows), len(shard.rows))
    sample.commit(shard, builder, shard_stats(model.get(), begun, tally, largest))
    return tally
