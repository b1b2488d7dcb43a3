"""The affine lens: ridge regression of the last layer's states on a layer's, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actstore.metrics.lens.fitted.moments import RegressionMoments
from actstore.metrics.lens.fitted.translator import (
    Translator,
    mean_shift,
    squared_error,
    through_means,
    undefined,
)

RIDGES = tuple(10.0**power for power in range(-12, 2))
"""Tried where held-out rows decide."""
DEFAULT_RIDGE = 1e-6


def affine(m: RegressionMoments, ridge: float = DEFAULT_RIDGE) -> Translator:
    """The affine map W h + b of least squared error plus ridge · (trace / hidden) · |W - s I|².

    trace: of the scatter of x, so that `ridge`, above 0, has no unit. s I: the multiple of the
    identity that fits best. The penalty pulls toward it and not toward 0: directions in which the
    rows do not vary (fewer rows than dimensions, say) pass as they are in the residual stream,
    scaled. b is free. Where x does not vary at all it is the mean shift; where a row is not
    finite, NaN.
    Source: Hoerl & Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634.
    """
    return _along(m, [ridge])[0]


def choose_ridge(
    train: RegressionMoments, held_out: RegressionMoments, ridges: Sequence[float] = RIDGES
) -> float:
    """The ridge whose map, fitted to `train`, has the least squared error on `held_out`.

    The largest of equally good ones; DEFAULT_RIDGE where some row is not finite.
    """
    if not (train.finite and held_out.finite):
        return DEFAULT_RIDGE
    descending = sorted(ridges, reverse=True)
    errors = [squared_error(fitted, held_out) for fitted in _along(train, descending)]
    return descending[int(np.argmin(errors))]


def _along(m: RegressionMoments, ridges: Sequence[float]) -> list[Translator]:
    """The map for each ridge, from one eigendecomposition."""
    hidden, trace = len(m.x.mean), float(np.trace(m.x.scatter))
    if not m.finite:
        return [undefined(m)] * len(ridges)
    if trace == 0:
        return [mean_shift(m)] * len(ridges)
    pull = np.eye(hidden) * (np.trace(m.cross) / trace)
    variances, directions = np.linalg.eigh(m.x.scatter)
    beyond = (m.cross - pull @ m.x.scatter) @ directions
    floors = (ridge * trace / hidden for ridge in ridges)
    shrunk = (beyond / (np.maximum(variances, 0) + floor) for floor in floors)
    return [through_means(pull + coefficients @ directions.T, m) for coefficients in shrunk]
