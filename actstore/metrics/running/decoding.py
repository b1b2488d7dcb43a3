"""Which lens reads the layers: the head's own norm, the next block's, none, or a fitted one."""

from __future__ import annotations

import json

from actstore.errors import MissingShardsError
from actstore.metrics.lens.decoders import FINAL, RAW, Decoder, NextBlockNorm
from actstore.metrics.lens.fitted.decoder import FittedLens
from actstore.store import CheckpointGroup
from actstore.store.heads.lenses import head_digest, lens_attributes, why_stale

UNFITTED = ("final", "next_block", "raw")


def decoder_of(group: CheckpointGroup, lens: str) -> Decoder:
    """The decoder of a name. Raises UnknownNameError and MissingShardsError as `require_lens`."""
    match lens:
        case "final":
            return FINAL
        case "raw":
            return RAW
        case "next_block":
            head = group.head()
            return NextBlockNorm(head.block_norms, head.arrays)
        case _:
            return FittedLens.of(group.lens(lens))


def require_lens(group: CheckpointGroup, lens: str) -> str:
    """What identifies a lens of a checkpoint, which must be there and must see the last layer.

    Raises MissingShardsError, saying what to type, for a checkpoint without a lens head or its last
    layer, UnknownNameError for a lens that was not fitted, and PlanMismatchError for one that was
    fitted to something else than is stored now.
    """
    if not group.has_head():
        group.head()  # says what to type
    last = group.spec.n_blocks
    if last not in group.layers:
        raise MissingShardsError(
            f"The lens needs the last layer, {last}, and {group.model} at {group.checkpoint} is "
            "stored without it. Run, into another store: actstore extract … --layers all"
        )
    head = head_digest(group)
    if lens in UNFITTED:
        return head
    fitted = lens_attributes(group, lens)
    if why_stale(group, fitted):
        group.lens(lens)  # says what to type
    return f"{head} {json.dumps(fitted['digests'], sort_keys=True)}"
