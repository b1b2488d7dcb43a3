"""How sure it is that nothing better is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from actstore.search.posterior import Posterior

Floats = NDArray[np.float64]
_SAMPLES = 2000
"""Of the posterior: the probability's error is about 0.01 at most."""
_CANDIDATES = 256
"""Arms that are sampled together; what all others might add is bounded."""


def probability_none_better(posterior: Posterior, best: int, tolerance: float, seed: int) -> float:
    """That no arm's objective exceeds the best one's by more than the tolerance; at least this.

    The arms most likely to are sampled jointly. The others are counted by the sum of their
    own probabilities, which no joint one exceeds.
    """
    exceeds = _exceeding(posterior, best, tolerance)
    order = np.argsort(-exceeds, kind="stable")
    candidates, others = order[:_CANDIDATES], order[_CANDIDATES:]
    some = np.append(best, candidates[candidates != best])
    drawn = posterior.mean[some] + _draws(posterior.covariance(some), seed)
    none = float(np.mean(drawn.max(axis=1) - drawn[:, 0] <= tolerance))
    return max(none - float(exceeds[others].sum()), 0.0)


def _exceeding(posterior: Posterior, best: int, tolerance: float) -> Floats:
    """(arm,): each arm's own probability of it."""
    variance = posterior.sd**2 + posterior.sd[best] ** 2 - 2 * posterior.covariance_with(best)
    ahead = posterior.mean - posterior.mean[best] - tolerance
    exceeds: Floats = norm.cdf(ahead / np.sqrt(np.maximum(variance, 1e-24)))
    exceeds[best] = 0.0
    return exceeds


def _draws(covariance: Floats, seed: int) -> Floats:
    """(sample, arm) of a Gaussian of mean 0."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    rng = np.random.default_rng(seed)
    drawn: Floats = rng.standard_normal((_SAMPLES, len(values))) @ root.T
    return drawn
