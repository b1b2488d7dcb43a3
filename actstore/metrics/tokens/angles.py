"""Curvature: how a text's token states turn from one to the next."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.metrics.blocks import ROUNDING, Floats, TokenBlock
from actstore.metrics.registry import Metric, register
from actstore.metrics.statistics import PerText, itself, mean_of, merge_per_text, per_text

CurvatureVariant = Literal["signed", "abs", "adjacent"]
_NEARLY_STRAIGHT = 0.99
"""From this cosine on, arccos would lose digits."""
_ELEMENTS = 1 << 17
"""Of the tokens taken together: 1 MiB in float64, which stay in a core's cache."""


class Angles(NamedTuple):
    """Some angles in radians, and which of them count."""

    values: NDArray[np.float64]
    """(angle,): 0 .. pi; NaN next to a state that is not finite."""
    counted: NDArray[np.bool_]
    """(angle,): False where a direction is missing."""


def curvature(states: Floats, variant: CurvatureVariant = "signed", *, k: int = 1) -> float:
    """Mean angle in radians by which a text's token states turn.

    states: (token, hidden) of one text in reading order, any float dtype.
    - "signed": the angle between successive steps x_{t+1} - x_t, 0 .. pi; 0 is a straight line.
      Source: Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2.
    - "abs": as the Layer by Layer code has it: steps between the centred tokens scaled to length 1,
      and the cosine's absolute value, 0 .. pi/2: turning back counts as going on.
    - "adjacent": as its older code has it: no steps, the angle between centred tokens t and t + k,
      0 .. pi.
      Source of both: Skean et al. 2025, https://arxiv.org/abs/2502.02013, and its code,
      https://github.com/OFSkean/information_flow.
    An angle next to a step of length 0, or to a token that equals the mean, is left out (for such a
    step the code counts an angle of 0). NaN if no angle is left, as for fewer than three tokens
    (adjacent: k + 1), or if a state is not finite.
    Raises InvalidInputError for a k other than 1 except for "adjacent", which alone has one.
    """
    if k < 1 or (k > 1 and variant != "adjacent"):
        raise InvalidInputError(
            f'curvature(variant="{variant}") was asked for k={k}. Only "adjacent" has a k, from 1 '
            "on: leave it out."
        )
    tokens = np.asarray(states)
    angles = _signed(tokens) if variant == "signed" else _of_units(tokens, variant, k)
    return float(_means(angles, np.array([[0, len(angles.values)]]))[0])


@np.errstate(invalid="ignore")
def _means(angles: Angles, spans: NDArray[np.int64]) -> NDArray[np.float64]:
    """(text,): of the angles that count among those in each span (text, 2); NaN if none does."""
    total = _sums(np.where(angles.counted, angles.values, 0.0), spans)
    return total / _sums(angles.counted.astype(np.float64), spans)


def _sums(values: NDArray[np.float64], spans: NDArray[np.int64]) -> NDArray[np.float64]:
    """(text,): over each span (text, 2); 0 for an empty one, of which reduceat gives a value."""
    sums = np.add.reduceat(np.append(values, 0.0), spans.ravel())[::2]
    return np.where(spans[:, 0] < spans[:, 1], sums, 0.0)


@np.errstate(over="ignore", invalid="ignore")
def _signed(states: Floats) -> Angles:
    """Of each token but the first and last (token - 2,), a few tokens at a time."""
    hidden = states.shape[1]
    at_once = max(1, min(len(states), _ELEMENTS // max(1, hidden)))
    # what is allocated once is not handed back to the system and cleared for every piece
    wide, steps = np.empty((2, at_once + 2, hidden))
    parts = []
    for i in range(0, max(1, len(states) - 2), at_once):
        n = len(some := states[i : i + at_once + 2])
        wide[:n] = some
        np.subtract(wide[1:n], wide[: max(0, n - 1)], out=steps[: max(0, n - 1)])
        parts.append(_between(steps[: max(0, n - 1)], 1))
    values, counted = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Angles(values, counted)


@np.errstate(over="ignore", invalid="ignore")
def _of_units(states: Floats, variant: CurvatureVariant, k: int) -> Angles:
    """Of one text's tokens as seen from their mean."""
    tokens = _centred(states)
    if variant == "adjacent":
        return _between(tokens, k)
    lengths = np.sqrt(np.vecdot(tokens, tokens))[:, None]
    steps = np.diff(tokens / np.where(lengths == 0, 1.0, lengths), axis=0)
    undirected = (lengths == 0)[1:] | (lengths == 0)[:-1]
    same = np.abs(steps).max(axis=1, initial=0.0)[:, None] <= ROUNDING
    angles = _between(np.where(undirected | same, 0.0, steps), 1)
    return angles._replace(values=np.minimum(angles.values, np.pi - angles.values))


def _centred(states: Floats) -> NDArray[np.float64]:
    """Tokens minus their mean; zeros where the difference is rounding."""
    if not len(states):
        return np.zeros(states.shape)
    mean = states.mean(axis=0, dtype=np.float64)
    tokens = states - mean
    near = np.sqrt(np.vecdot(tokens, tokens)) <= ROUNDING * np.sqrt(mean @ mean)
    return np.where(near[:, None], 0.0, tokens)


def _between(vectors: NDArray[np.float64], gap: int) -> Angles:
    """The angle between each vector and the one `gap` further; counted where neither is 0."""
    lengths = np.sqrt(np.vecdot(vectors, vectors))
    counted = (lengths[:-gap] != 0) & (lengths[gap:] != 0)
    scale = np.where(counted, lengths[:-gap] * lengths[gap:], 1.0)
    cosines = np.vecdot(vectors[:-gap], vectors[gap:]) / scale
    angles = np.arccos(np.clip(cosines, -1.0, 1.0))
    close = np.flatnonzero(counted & (np.abs(cosines) > _NEARLY_STRAIGHT))
    a, b = (vectors[i] / lengths[i, None] for i in (close, close + gap))
    angles[close] = _between_units(a, b)
    return Angles(angles, counted)


def _between_units(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """As Kahan takes them: arccos loses half the digits near a straight line."""
    apart, together = (np.linalg.norm(c, axis=1) for c in (a - b, a + b))
    return np.asarray(2 * np.arctan2(apart, together), dtype=np.float64)


def _curvatures(block: TokenBlock) -> PerText:
    angles = _signed(block.states)  # those that straddle two texts are not looked at
    starts, stops = block.spans.T
    starts = np.minimum(starts, len(angles.values))
    spans = np.stack([starts, np.maximum(starts, stops - 2)], axis=1)
    return per_text(block.rows, _means(angles, spans))


def _curvatures_of_units(variant: CurvatureVariant, block: TokenBlock) -> PerText:
    values = [curvature(states, variant) for states in block.texts()]
    return per_text(block.rows, np.array(values))


register(
    Metric(
        name="curvature",
        formula="\\frac{1}{T-2} \\sum_t \\arccos \\cos(v_t, v_{t+1}),\\ v_t = x_{t+1} - x_t",
        range="0 .. pi",
        cost="T d a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        ordered=True,
        over="tokens",
        chunk=_curvatures,
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2; mean "
        "over texts",
        unit="radians",
        description="mean angle between successive steps from token to token: 0 (straight) to pi",
    )
)
register(
    Metric(
        name="curvature_abs",
        formula="\\frac{1}{T-2} \\sum_t \\arccos |\\cos(v_t, v_{t+1})|,\\ v_t = z_{t+1} - z_t,\\ "
        "z_t = (x_t - \\bar x) / \\|x_t - \\bar x\\|",
        range="0 .. pi/2",
        cost="T d a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        ordered=True,
        over="tokens",
        chunk=partial(_curvatures_of_units, "abs"),
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, as in its code: absolute "
        "cosine, centred unit tokens; steps of length 0 left out; mean over texts",
        unit="radians",
        description="curvature as the Layer by Layer code has it: turning back counts as going on",
    )
)
register(
    Metric(
        name="curvature_adjacent",
        formula="\\frac{1}{T-1} \\sum_t \\arccos \\cos(x_t - \\bar x, x_{t+1} - \\bar x)",
        range="0 .. pi",
        cost="T d a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        ordered=True,
        over="tokens",
        chunk=partial(_curvatures_of_units, "adjacent"),
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, as in its code of "
        "September 2024: no steps, k = 1; mean over texts",
        unit="radians",
        description="mean angle between neighbouring tokens, as seen from the text's mean",
    )
)
