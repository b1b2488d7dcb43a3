"""Token samples, lens heads and fitted lenses of a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from actstore.errors import PlanMismatchError
from actstore.store.arrays.sharded import Shard
from actstore.store.arrays.tokens import TokenisedText, TokenSample
from actstore.store.arrays.zarr_metadata import (
    write_group,
)
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.heads.lenses import lens_attributes, lens_prefix, why_stale
from actstore.store.moving.casting import cast
from actstore.store.moving.objects import copy_below
from actstore.store.moving.relaying import size_of_rows, stats_like
from actstore.store.moving.rows import RowMap, Rows
from actstore.store.moving.shards import copy_shards

Advance = Callable[[int], None]


def move_sample(
    source: CheckpointGroup, target: CheckpointGroup, name: str, rows: RowMap, advance: Advance
) -> int:
    """Copy a token sample; how many of its shards the source does not have.

    Raises PlanMismatchError where the target has one of that name of other texts.
    """
    theirs = source.token_sample(name)
    ours = target.begin_token_sample(name, sample_texts(theirs, rows))
    n_shards = -(-len(ours.row) // ours.layout.rows_per_shard)
    copy_shards(source, target, ours.array.name, np.arange(n_shards), advance)
    theirs.committed()
    tokens, left = _tokens_in_source(theirs, ours), 0
    for shard in ours.todo():
        origin = tokens[shard.rows]
        if theirs.array.missing(origin):
            left += 1
        else:
            _make(source, target, theirs, ours, shard, origin)
            advance(size_of_rows(target, len(shard.rows)))
    return left


def require_same_samples(source: CheckpointGroup, target: CheckpointGroup) -> None:
    """Raise PlanMismatchError for token samples of one name whose texts or tokens differ."""
    there = {*target.token_samples()}
    for name in (name for name in source.token_samples() if name in there):
        ours, theirs = (_identity(group, name) for group in (target, source))
        if ours != theirs:
            raise PlanMismatchError(
                f"The token sample {name!r} of {source.model} at {source.checkpoint} is of other "
                f"texts in {source.storage.url} than in {target.storage.url}. Leave one of them "
                "out, or keep the stores apart."
            )


def sample_texts(sample: TokenSample, rows: RowMap) -> list[TokenisedText]:
    """A sample's texts, with the rows that they have in the target."""
    spans = sample.spans
    found = rows.to_target(spans["row"].to_numpy())
    return [
        TokenisedText(
            int(row),
            sample.token_id[start:stop],
            sample.is_special[start:stop],
            sample.n_bytes[start:stop],
        )
        for row, start, stop in zip(found, spans["start"], spans["stop"], strict=True)
    ]


def move_head(source: CheckpointGroup, target: CheckpointGroup) -> None:
    """Copy the lens head; the one that the target has stays."""
    if source.has_head() and not target.has_head():
        target.write_head(source.head())


def move_lenses(
    source: CheckpointGroup, target: CheckpointGroup, rows: RowMap, advance: Advance
) -> list[str]:
    """Copy the fitted lenses; the names of those that do not fit the target's states.

    A lens belongs to the states, the head and the split of the texts that it was fitted to.
    """
    left = []
    for name in source.lenses():
        if name in target.lenses():
            continue
        if source.spec.digest() == target.spec.digest() and _same_rows(source, name, rows):
            prefix = lens_prefix(source, name)
            write_group(target.storage, prefix.rpartition("/")[0], {})
            copy_below(source.storage, target.storage, prefix, advance)
        else:
            left.append(name)
    return left


def _identity(group: CheckpointGroup, name: str) -> tuple[bytes, bytes]:
    """The hashes of a sample's texts, in order, and its tokens."""
    sample = group.token_sample(name)
    rows = sample.spans["row"].to_numpy()
    return group.texts.hashes_of(rows).tobytes(), sample.token_id[sample.row >= 0].tobytes()


def _same_rows(source: CheckpointGroup, lens: str, rows: RowMap) -> bool:
    fitted = lens_attributes(source, lens)
    sample = fitted["sample"]
    if why_stale(source, fitted) or sample not in source.token_samples():
        return False
    return rows.keeps(source.token_sample(sample).spans["row"].to_numpy())


def _tokens_in_source(theirs: TokenSample, ours: TokenSample) -> Rows:
    """(token,): where each token of our axis is on theirs; both have the same texts in order."""
    tokens: Rows = np.full(len(ours.row), -1, np.int64)
    tokens[np.flatnonzero(ours.row >= 0)] = np.flatnonzero(theirs.row >= 0)
    return tokens


def _make(
    source: CheckpointGroup,
    target: CheckpointGroup,
    theirs: TokenSample,
    ours: TokenSample,
    shard: Shard,
    origin: Rows,
) -> None:
    """Make one shard and commit it. origin: places of its tokens on the source's axis."""
    began, spec = time.monotonic(), target.spec
    states = np.empty((len(spec.layers), len(origin), spec.hidden_size), spec.dtype)
    read = np.empty(states.shape[1:], np.float32)
    for place, layer in enumerate(spec.layers):
        theirs.array.read(source.layers.index(layer), origin, read)
        what = f"token sample {ours.name!r} of {spec.model} at {spec.checkpoint}, layer {layer}"
        states[place] = cast(read, spec.dtype, what)
    builder = ours.new_builder()
    builder.put(shard.positions, states)
    largest = float(np.abs(states).max(initial=0))
    seconds = time.monotonic() - began
    stats = stats_like(source, theirs.array.name, seconds, len(origin), 0, largest)
    ours.commit(shard, builder, stats)
