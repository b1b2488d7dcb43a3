"""What of a checkpoint is still to be done, in pieces that workers claim one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actstore.errors import ActstoreError, UnknownNameError
from actstore.extract.outline import Outline
from actstore.extract.request import ExtractionRequest
from actstore.extract.states.token_metrics import TOKEN_METRICS
from actstore.store import CheckpointGroup, Shard, Store
from actstore.store.arrays.sharded import shards_of
from actstore.store.records.plan import require_same

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


@dataclass(frozen=True)
class Extracted:
    """A shard that is in memory."""

    tally: Tally
    commit: Callable[[], None]
    """Writes it and makes it count."""


class ShardJob(Protocol):
    """One shard to be extracted."""

    @property
    def unit(self) -> str:
        """What a worker claims: unique in the checkpoint."""

    @property
    def shard(self) -> Shard: ...

    def done(self) -> bool:
        """Whether it is committed, as the ledger says now."""

    def prepare(self) -> None:
        """Begin what can be done before its turn comes, in the background."""

    def run(self, advance: Advance) -> Extracted:
        """Extract it; `advance` is told how many texts went through."""


@dataclass(frozen=True)
class ShardWork:
    """A shard and what it still lacks."""

    shard: Shard
    poolings: tuple[str, ...]
    token_metrics: tuple[str, ...] = ()


def shard_work(
    group: CheckpointGroup, rows: NDArray[np.int64], request: ExtractionRequest
) -> list[ShardWork]:
    """The shards that hold any of `rows` and lack anything asked for, in order of rows.

    The group's arrays must have been begun.
    """
    stored = dict.fromkeys(group.stored_pooling(name) for name in request.poolings)
    poolings = {name: group.committed(name) for name in stored}
    wanted = sorted(TOKEN_METRICS) if request.token_metrics else []
    metrics = {name: group.committed_values(name) for name in wanted}
    shards = shards_of(rows, group.texts.rows(), group.layout.rows_per_shard)
    work = [ShardWork(s, _lacking(s, poolings), _lacking(s, metrics)) for s in shards]
    return [part for part in work if part.poolings or part.token_metrics]


def _lacking(shard: Shard, done: Mapping[str, set[int]]) -> tuple[str, ...]:
    return tuple(name for name, shards in done.items() if shard.index not in shards)


@contextmanager
def naming(shard: Shard, group: CheckpointGroup) -> Iterator[None]:
    """Add to an error what was being extracted."""
    try:
        yield
    except ActstoreError as error:
        where = f"{shard.start}:{shard.stop} of {group.model} at {group.checkpoint}"
        error.add_note(f"while extracting the shard {where}")
        raise


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
    asked = joined(one, group).spec(group.spec.weights_digest, group.spec.has_final_norm, {})
    what = f"{model} at {checkpoint} in {store.url}"
    remedy = "Use the stored values, or another store."
    require_same(what, group.spec.compared(), asked.compared(), remedy)
    return group


def joined(one: Outline, group: CheckpointGroup) -> Outline:
    """The outline with `auto` replaced by what the checkpoint was begun with."""
    return replace(one, dtype=group.spec.dtype) if one.dtype == "auto" else one


def require_same_tokens(other: CheckpointGroup, one: Outline) -> None:
    """Raise PlanMismatchError if a checkpoint cuts texts otherwise than one the store has."""
    stored, model = other.spec, one.source.model
    require_same(
        f"{model} ({other.checkpoint} and others)",
        {"max_tokens": stored.max_tokens, "tokenizer_digest": stored.tokenizer_digest},
        {"max_tokens": one.max_tokens, "tokenizer_digest": one.tokenizer_digest},
        "All checkpoints of a model in a store share these; use another store.",
    )
