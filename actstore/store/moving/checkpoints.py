"""One checkpoint of the source, moved into the target: begun, filled, with all it has besides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    create_group,
    read_attributes,
)
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.heads.vocabulary import has_vocabulary, require_vocabulary_of
from actstore.store.moving.objects import copy_object
from actstore.store.moving.relaying import POOL, relay
from actstore.store.moving.request import ChosenCheckpoint
from actstore.store.moving.rows import RowMap, Rows
from actstore.store.moving.samples import move_head, move_lenses, move_sample
from actstore.store.moving.shards import copy_shards
from actstore.store.storage import join
from actstore.store.store import Store


@dataclass(frozen=True)
class Moved:
    """What became of one checkpoint."""

    model: str
    checkpoint: str
    shards_left: int
    """Shards that the source could not fill: it lacks states of some of their texts."""
    lenses_left: tuple[str, ...]
    """Fitted lenses that do not belong to the target's states; they are fitted again."""


def move_checkpoint(
    chosen: ChosenCheckpoint,
    target: Store,
    rows: RowMap,
    wanted: Rows,
    advance: Callable[[int], None],
) -> Moved:
    """Copy a checkpoint, and go on with one that was begun.

    wanted: rows of the target whose states are copied. Raises PlanMismatchError where the target
    has the checkpoint under another plan.
    """
    source = chosen.source
    group = _begun(chosen, target)
    pools = [f"{name}{POOL}" for name in chosen.poolings]
    names = [*pools, *source.text_values()]
    shards = np.unique(wanted // group.layout.rows_per_shard)
    for name in names:
        copy_shards(source, group, name, shards, advance)
    left = relay(source, group, names, rows, wanted, advance)
    for sample in source.token_samples():
        left += move_sample(source, group, sample, rows, advance)
    _copy_vocabulary(source, group)
    move_head(source, group)
    lenses = move_lenses(source, group, rows, advance)
    group.begin_poolings(())  # its document lists all that is there now
    return Moved(source.model, source.checkpoint, left, tuple(lenses))


def stored_checkpoint(target: Store, source: CheckpointGroup) -> CheckpointGroup | None:
    """The checkpoint as the target has it, if it has."""
    if not target.storage.exists(join(source.prefix, DOCUMENT)):
        return None
    return target.checkpoint(source.model, source.checkpoint)


def _begun(chosen: ChosenCheckpoint, target: Store) -> CheckpointGroup:
    """The checkpoint's group in the target, with shards of the same size wherever that is free."""
    source = chosen.source
    if not target.storage.exists(join(source.model_prefix, DOCUMENT)):
        with suppress(FileExistsError):
            attributes = read_attributes(source.storage, source.model_prefix)
            create_group(target.storage, source.model_prefix, attributes)
    group = target.begin_checkpoint(chosen.spec)
    group.begin_poolings(chosen.poolings)
    group.begin_text_values(source.text_values())
    return group


def _copy_vocabulary(source: CheckpointGroup, target: CheckpointGroup) -> None:
    if not has_vocabulary(source.storage, source.model):
        return
    if has_vocabulary(target.storage, source.model):
        require_vocabulary_of(target.storage, source.model, source.spec.tokenizer_digest)
    else:
        key = join(source.model_prefix, "vocabulary.parquet")
        copy_object(source.storage, target.storage, key)
