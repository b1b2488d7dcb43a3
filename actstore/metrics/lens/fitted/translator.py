"""What every fitted lens comes down to: an affine map from a layer's states to the last one's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.fitted.moments import RegressionMoments


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class Translator:
    """weight h + bias: an estimate of the last layer's state of the same token."""

    weight: Floats
    """(hidden out, hidden in)."""
    bias: Floats
    """(hidden out,)."""

    def __call__(self, states: Floats) -> NDArray[np.float64]:
        """(…, hidden in) -> (…, hidden out), computed in float64 whatever the states are.

        Massive activations would cost float32 sums the small directions.
        """
        weight, bias = self.weight.astype(np.float64), self.bias.astype(np.float64)
        return np.asarray(states.astype(np.float64) @ weight.T + bias)

    def rounded(self, m: RegressionMoments) -> Translator:
        """In float32, with the bias that fits the rounded weight: the mean still maps to the mean
        of what the map gave before."""
        weight = self.weight.astype(np.float32)
        image = self(m.x.mean[None])[0]
        bias = image - weight.astype(np.float64) @ m.x.mean
        return Translator(weight, bias.astype(np.float32))


def through_means(weight: NDArray[np.float64], m: RegressionMoments) -> Translator:
    """The map with this weight that takes the mean of x to the mean of y."""
    return Translator(weight, m.mean_y - weight @ m.x.mean)


def undefined(m: RegressionMoments) -> Translator:
    """What there is to say where some states are not finite: NaN."""
    return Translator(np.full(m.cross.shape, np.nan), np.full(len(m.mean_y), np.nan))


def mean_shift(m: RegressionMoments) -> Translator:
    """h - mean of the layer + mean of the last layer: what any fit has to be better than."""
    return through_means(np.eye(len(m.mean_y)), m) if m.finite else undefined(m)


def squared_error(translator: Translator, m: RegressionMoments) -> float:
    """Sum over the moments' rows of |estimate - y|²."""
    weight, bias = translator.weight.astype(np.float64), translator.bias.astype(np.float64)
    off = weight @ m.x.mean + bias - m.mean_y
    explained = np.vdot(weight @ m.x.scatter, weight) - 2 * np.vdot(weight, m.cross)
    return float(m.total + explained + m.n * (off @ off))
