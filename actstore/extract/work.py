"""What of a checkpoint is still to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.errors import UnknownNameError
from actstore.extract.outline import Outline
from actstore.store import CheckpointGroup, Shard, Store
from actstore.store.plan import require_same


@dataclass(frozen=True)
class ShardWork:
    """A shard and the stored poolings that it still lacks."""

    shard: Shard
    poolings: tuple[str, ...]


def pooling_work(
    group: CheckpointGroup, rows: NDArray[np.int64], poolings: Sequence[str]
) -> list[ShardWork]:
    """The shards that hold any of `rows` and lack any of the poolings, in order of rows."""
    stored = tuple(dict.fromkeys(group.stored_pooling(name) for name in poolings))
    done = {name: group.committed(name) for name in stored}
    return [
        ShardWork(shard, tuple(name for name in stored if shard.index not in done[name]))
        for shard in group.todo(rows, stored)
    ]


def stored_group(store: Store, one: Outline) -> CheckpointGroup | None:
    """What the store holds of a checkpoint, if it was begun.

    Raises PlanMismatchError if it was begun under another plan. The weights are not compared:
    that needs their files, see `Store.begin_checkpoint`.
    """
    model, checkpoint = one.source.model, one.checkpoint
    try:
        group = store.checkpoint(model, checkpoint)
    except UnknownNameError:
        return None
    asked = one.spec(group.spec.weights_digest, group.spec.has_final_norm, {})
    what = f"{model} at {checkpoint} in {store.url}"
    remedy = "Use the stored values, or another store."
    require_same(what, group.spec.compared(), asked.compared(), remedy)
    return group


def require_same_tokens(other: CheckpointGroup, one: Outline) -> None:
    """Raise PlanMismatchError if a checkpoint cuts texts otherwise than one the store has."""
    stored, model = other.spec, one.source.model
    require_same(
        f"{model} ({other.checkpoint} and others)",
        {"max_tokens": stored.max_tokens, "tokenizer_digest": stored.tokenizer_digest},
        {"max_tokens": one.max_tokens, "tokenizer_digest": one.tokenizer_digest},
        "All checkpoints of a model in a store share these; use another store.",
    )
