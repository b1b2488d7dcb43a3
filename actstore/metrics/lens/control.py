"""Control prompts: whether an answer comes from the prompt, or would come for any like it.

A control prompt differs in the one thing asked about (the capital of France, not of Germany). Where
the model reads the prompt, its own answer (Paris) is likelier there than the other's (Berlin).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.milestones import first_layer

STRONG_GAP = 0.5
"""In logits."""


def control_margin(p_control_gold: Floats, p_prompt_gold: Floats) -> NDArray[np.float64]:
    """P(control's answer) - P(prompt's answer), both on the control prompt: -1 .. 1.

    Any shape, by layer. Source: logos-in-layers, `control_margin`.
    """
    return np.subtract(p_control_gold, p_prompt_gold, dtype=np.float64)


def answer_logit_gap(
    gold_rank: Floats, gold_logit: Floats, second_logit: Floats
) -> NDArray[np.float64]:
    """How far the gold token's logit is above the second largest one; NaN where it is not first.

    second_logit: the second largest of all logits. A tie gives 0.
    Source: logos-in-layers, `answer_logit_gap`, and `control_top2_logit_gap` on a control prompt.
    """
    gap = np.subtract(gold_logit, second_logit, dtype=np.float64)
    return np.where(gold_rank == 1, gap, np.nan)


@dataclass(frozen=True)
class ControlSummary:
    """What a control prompt says of a model. Source: logos-in-layers, `control_summary`."""

    first_control_margin_pos: int | None
    """The first layer with a margin above 0."""
    max_control_margin: float
    """The largest margin of any layer; NaN without one."""
    first_control_strong_pos: int | None
    """The first layer with a margin above 0 and a gap of at least 0.5 logits."""


def control_summary(
    margin: Floats, layers: Sequence[int], gap: Floats | None = None
) -> ControlSummary:
    """The milestones of a control prompt at one position.

    margin: (layer,), of `control_margin`. gap: (layer,), of `answer_logit_gap` for the control's
    answer; without it no layer is strong.
    """
    known = np.isfinite(margin)
    positive = np.asarray(margin > 0)
    strong = np.zeros_like(positive) if gap is None else positive & (gap >= STRONG_GAP)
    return ControlSummary(
        first_control_margin_pos=_first(positive, layers, known),
        max_control_margin=float(margin[known].max()) if known.any() else float("nan"),
        first_control_strong_pos=_first(strong, layers, known),
    )


def _first(flags: NDArray[np.bool_], layers: Sequence[int], known: NDArray[np.bool_]) -> int | None:
    found = first_layer(flags[:, None], layers, known[:, None])[0]
    return None if np.isnan(found) else int(found)
