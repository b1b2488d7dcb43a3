"""The Procrustes lens: a layer's states turned, scaled and shifted onto the last layer's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.lens.fitted.moments import RegressionMoments
from actstore.metrics.lens.fitted.translator import (
    Translator,
    mean_shift,
    through_means,
    undefined,
)


def procrustes(m: RegressionMoments) -> Translator:
    """The map s Q h + b of least squared error, Q orthogonal (turning or mirroring), s at least 0.

    Where the rows leave Q free (fewer of them than dimensions, say), it is the completion nearest
    to the identity. Where x does not vary it is the mean shift; where a row is not finite, NaN.
    Source: Schönemann 1966, https://doi.org/10.1007/BF02289451, with the scale of
    Schönemann & Carroll 1970, https://doi.org/10.1007/BF02291266.
    """
    if not m.finite:
        return undefined(m)
    trace = float(np.trace(m.x.scatter))
    if trace == 0:
        return mean_shift(m)
    left, shared, right = np.linalg.svd(m.cross)
    rank = _rank(shared)
    orthogonal = left[:, :rank] @ right[:rank] + _completion(left[:, rank:], right[rank:])
    return through_means(orthogonal * (shared.sum() / trace), m)


def _rank(singular: NDArray[np.float64]) -> int:
    """How many singular values are more than rounding."""
    noise = len(singular) * np.finfo(np.float64).eps * singular[0]
    return int(np.count_nonzero(singular > noise))


def _completion(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map between two spaces that is orthogonal there and nearest to the identity.

    left: (hidden, k), a basis of the image. right: (k, hidden), of the space it is from.
    """
    turn, _, back = np.linalg.svd(left.T @ right.T)
    return np.asarray(left @ (turn @ back) @ right)
