"""The lens' quantities that are flags: what has collapsed at a layer, and what was reached by it.

Each is 1 or 0, and NaN where it cannot be told, so that its mean over tokens is a share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.lens.collapse import (
    Flags,
    copy_collapse,
    entropy_collapse,
    semantic_collapse,
)
from actstore.metrics.lens.milestones import KL_BITS, RANKS, reached
from actstore.metrics.lens.quantities import LensTokens, Quantity, register_quantity

Values = Mapping[str, NDArray[Any]]
Derive = Callable[[Values, LensTokens], NDArray[np.float64]]


def _copied(values: Values, tokens: LensTokens) -> NDArray[np.float64]:
    """NaN throughout where it is not known which ids are blank: they must not count as copies."""
    p = values["p_top1"]
    if tokens.blank is None:
        return np.full(p.shape, np.nan)
    margin, ids = values["p_top1_margin"], values["top1_id"]
    copied = copy_collapse(ids, p, margin, tokens.token_id, tokens.spans, ignored=tokens.blank)
    return np.where(np.isfinite(p), copied, np.nan)


def _flag(source: str, rule: Callable[[NDArray[Any]], Flags]) -> Derive:
    """1 or 0 by a rule; NaN where what it is about is."""

    def derive(values: Values, tokens: LensTokens) -> NDArray[np.float64]:
        return np.where(np.isfinite(values[source]), rule(values[source]), np.nan)

    return derive


def _reached(source: str, rule: Callable[[NDArray[Any]], Flags]) -> Derive:
    """1 from the first layer on that satisfies a rule; NaN where that cannot be told."""

    def derive(values: Values, tokens: LensTokens) -> NDArray[np.float64]:
        return reached(rule(values[source]), np.isfinite(values[source]))

    return derive


def _at_most(bound: float) -> Callable[[NDArray[Any]], Flags]:
    return lambda values: np.asarray(values <= bound)


def _is_set(flags: NDArray[Any]) -> Flags:
    return np.asarray(flags == 1)


_COPY_SOURCES = ("top1_id", "p_top1", "p_top1_margin")
_COLLAPSES: tuple[tuple[str, tuple[str, ...], Derive, str], ...] = (
    ("copy_collapse", _COPY_SOURCES, _copied, "the most likely token is surely one of the prompt"),
    (
        "entropy_collapse",
        ("entropy_bits",),
        _flag("entropy_bits", entropy_collapse),
        "the prediction's entropy is at most 1 bit",
    ),
    (
        "semantic_collapse",
        ("gold_rank",),
        _flag("gold_rank", semantic_collapse),
        "the gold token is ranked first",
    ),
)
_MILESTONES: tuple[tuple[str, str, Callable[[NDArray[Any]], Flags], str], ...] = (
    ("copy_reached", "copy_collapse", _is_set, "copy collapse"),
    ("entropy_collapse_reached", "entropy_collapse", _is_set, "entropy collapse"),
    *(
        (
            f"kl_below_{bits:g}_reached",
            "kl_layer_to_final_bits",
            _at_most(bits),
            f"KL(layer || final) of at most {bits:g} bits",
        )
        for bits in KL_BITS
    ),
    *(
        (f"rank_le_{k}_reached", "gold_rank", _at_most(k), f"a gold token ranked {k} or better")
        for k in RANKS
    ),
)

for _name, _sources, _derive, _what in _COLLAPSES:
    register_quantity(Quantity(_name, "share", f"1 where {_what}, else 0", _sources, _derive))
for _name, _source, _rule, _what in _MILESTONES:
    register_quantity(
        Quantity(
            _name,
            "share",
            f"1 where this layer or an earlier one has {_what}, else 0",
            (_source,),
            _reached(_source, _rule),
            over_depth=True,
        )
    )
