"""What is found out about a model while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Masks(StrEnum):
    """Which batches need an attention mask."""

    NEVER = "never"
    """Right padding cannot reach a real token: the model is causal."""
    PADDED = "padded"
    """Those with padding."""
    ALWAYS = "always"
    """The model makes another mask of its own where it gets none."""


@dataclass(frozen=True)
class Packing:
    """How texts run one behind the other in one row, without padding."""

    first_position: int
    """Of every text: 0, or behind the padding's in RoBERTa and its kin."""


@dataclass
class Learnt:
    """What running a model has taught; one for each model that is loaded."""

    too_large: int | None = None
    """Fewest tokens of a batch that did not fit on the device."""
    packing: Packing | None = None
    """None: not tried, or the model's states do not stay the same."""
    packing_tried: bool = False
    compiled: bool = False
