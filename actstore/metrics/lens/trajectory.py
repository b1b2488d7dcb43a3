"""The residual's norm over depth, and what the lens' norm does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.quantities import Quantity, register_quantity

SPIKE_RATIO = 3.0
SPIKE_COSINE = 0.8
RESID_NORM_RATIO = register_quantity(
    Quantity(
        "resid_norm_ratio",
        "ratio",
        "length of what the unembedding multiplies over that of the residual",
        derived_from=("normed_norm", "resid_norm"),
        derive=lambda values, _: _divided(values["normed_norm"], values["resid_norm"]),
    )
)


def resid_norm_ratio(states: Floats, normed: Floats) -> NDArray[np.float64]:
    """|norm(h)| / |h| of each state: what the lens' norm makes of its length, from 0.

    states: (…, hidden), raw residuals. normed: (…, width), as a decoder gives them. NaN for a state
    of length 0 and where either is not finite. Source: logos-in-layers, `resid_norm_ratio`.
    """
    return _divided(_length(normed), _length(states))


def delta_resid_cos(states: Floats, normed: Floats) -> NDArray[np.float64]:
    """The cosine of a state and what the lens' norm makes of it, -1 .. 1.

    Shapes and NaN as in `resid_norm_ratio`; NaN too where the norm changes the width (OPT-350m),
    since the vectors are not of one space. Source: logos-in-layers, `delta_resid_cos`.
    """
    if states.shape != normed.shape:
        return np.full(states.shape[:-1], np.nan)
    cosine: NDArray[np.float64] = np.clip(np.vecdot(_unit(states), _unit(normed)), -1, 1)
    return cosine


@dataclass(frozen=True)
class NormTrajectory:
    """How a residual's norm grows with depth. Source: logos-in-layers, `norm_trajectory`."""

    slope: float
    """Of the least-squares line of ln |h| over the layer number: growth of e^slope a layer."""
    intercept: float
    r_squared: float
    """Share of the variance of ln |h| that the line explains; NaN where |h| does not vary."""


def norm_trajectory(resid_norm: Floats, layers: Sequence[int]) -> NormTrajectory:
    """The least-squares line of ln |h| over the layers.

    resid_norm: (layer,), lengths of raw residuals. NaN for fewer than two layers, and where a
    length is 0 or not finite.
    """
    nan = float("nan")
    lengths, x = np.asarray(resid_norm, np.float64), np.asarray(layers, np.float64)
    if len(x) < 2 or not (np.isfinite(lengths) & (lengths > 0)).all():
        return NormTrajectory(nan, nan, nan)
    y = np.log(lengths)
    from_x, from_y = x - x.mean(), y - y.mean()
    slope = float(from_x @ from_y / (from_x @ from_x))
    varies = np.ptp(y) > 8 * np.finfo(np.float64).eps * max(1.0, np.abs(y).max())
    r_squared = slope**2 * float(from_x @ from_x) / float(from_y @ from_y) if varies else nan
    return NormTrajectory(slope, float(y.mean() - slope * x.mean()), r_squared)


def norm_spikes(
    ratio: Floats, cosine: Floats, layers: Sequence[int], until: float | None = None
) -> tuple[int, ...]:
    """The layers at which the lens' norm lengthens a state over 3-fold or turns it to cos < 0.8.

    ratio: (layer,), of `resid_norm_ratio`. cosine: (layer,), of `delta_resid_cos`. until: the last
    layer to look at, L_semantic in the source; all if None. NaN is no spike.
    """
    numbers = np.asarray(layers)
    spikes = (ratio > SPIKE_RATIO) | (cosine < SPIKE_COSINE)
    return tuple(numbers[spikes & (numbers <= (np.inf if until is None else until))].tolist())


def _length(vectors: Floats) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.linalg.norm(np.asarray(vectors, np.float64), axis=-1))


def _unit(vectors: Floats) -> NDArray[np.float64]:
    """Vectors of length 1; NaN for those of length 0 or not finite."""
    return _divided(np.asarray(vectors, np.float64), _length(vectors)[..., None])


def _divided(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a / b; NaN where either is not finite or b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(a) & np.isfinite(b) & (b > 0), a / b, np.nan)
