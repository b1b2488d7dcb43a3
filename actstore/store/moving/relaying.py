"""Shards made anew in the target: of other layers, in another precision, or of other rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store.arrays.sharded import Shard, shards_of
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.moving.casting import cast
from actstore.store.moving.rows import RowMap, Rows
from actstore.store.records.ledger import ShardStats
from actstore.store.shards import ShardBuilder

POOL = "_pool"
"""How the names of pooled arrays end."""


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class Lengths:
    """Coordinates of a model's texts, by row."""

    n_tokens: NDArray[np.int32]
    truncated: NDArray[np.bool_]

    @classmethod
    def of(cls, group: CheckpointGroup) -> Lengths:
        found = group.lengths.by_row(group.texts)
        return cls(found["n_tokens"], found["truncated"])


def relay(
    source: CheckpointGroup,
    target: CheckpointGroup,
    names: Sequence[str],
    rows: RowMap,
    wanted: Rows,
    advance: Callable[[int], None],
) -> int:
    """Make the shards that the target lacks from states that the source has.

    names: of arrays, as commit records have them. wanted: rows of the target; shards that hold any
    are made. Returns how many were not, because the source lacks some of their texts.
    Raises StateRangeError for states that the target's dtype cannot hold.
    """
    done = {name: target.sharded_array(name).committed() for name in names}
    have = {name: source.sharded_array(name).committed() for name in names}
    lengths, left = Lengths.of(source), 0
    for shard in shards_of(wanted, target.texts.rows(), target.layout.rows_per_shard):
        lacking = [name for name in names if shard.index not in done[name]]
        origin = rows.to_source(shard.rows)
        needed = set(np.unique(origin // source.layout.rows_per_shard).tolist())
        can = [name for name in lacking if (origin >= 0).all() and needed <= have[name]]
        left += len(lacking) - len(can)
        if can:
            _make(source, target, can, shard, origin, lengths)
            advance(len(can) * size_of_rows(target, len(shard.rows)))
    return left


def size_of_rows(target: CheckpointGroup, n_rows: int) -> int:
    """About how many bytes pooled states of some rows take."""
    return n_rows * target.layout.row_bytes * target.layout.n_layers


def _make(
    source: CheckpointGroup,
    target: CheckpointGroup,
    names: Sequence[str],
    shard: Shard,
    origin: Rows,
    lengths: Lengths,
) -> None:
    """Make one shard of some arrays and commit it. origin: the source's rows of its texts."""
    began = time.monotonic()
    builders, largest = {}, 0.0
    for pooling in (name.removesuffix(POOL) for name in names if name.endswith(POOL)):
        builders[pooling], found = _built(source, target, pooling, shard, origin)
        largest = max(largest, found)
    values = {
        name: source.read_value_layers(name, target.layers, origin)
        for name in names
        if not name.endswith(POOL)
    }
    n_tokens, truncated = lengths.n_tokens[origin], lengths.truncated[origin]
    seconds = time.monotonic() - began
    n_truncated = int(truncated.sum())
    stats = stats_like(source, names[0], seconds, int(n_tokens.sum()), n_truncated, largest)
    target.commit(shard, builders, n_tokens, truncated, stats, values)


def _built(
    source: CheckpointGroup, target: CheckpointGroup, pooling: str, shard: Shard, origin: Rows
) -> tuple[ShardBuilder, float]:
    """A shard of a pooling, and its largest absolute value."""
    spec = target.spec
    states = np.empty((len(target.layers), len(origin), spec.hidden_size), spec.dtype)
    for place, layer in enumerate(target.layers):
        what = f"{pooling} of {spec.model} at {spec.checkpoint}, layer {layer}"
        states[place] = cast(source.read(pooling, layer, origin), spec.dtype, what)
    builder = target.new_builder()
    builder.put(shard.positions, states)
    return builder, float(np.abs(states).max(initial=0))


def stats_like(
    source: CheckpointGroup,
    name: str,
    seconds: float,
    n_tokens: int,
    n_truncated: int,
    max_abs: float,
) -> ShardStats:
    """How a shard was made: where and by what the source's were, and how long making it took."""
    records: list[dict[str, Any]] = source.ledger.records()
    told = next(one for one in records if one["array"] == name)
    return ShardStats(seconds, n_tokens, n_truncated, max_abs, told["device"], told["versions"])
