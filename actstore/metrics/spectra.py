"""Numbers read off a spectrum: entropies and effective dimensions, in nats and in dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats


def shannon_entropy(weights: Floats) -> float:
    """Entropy in nats of non-negative weights scaled to sum 1; 0 ln 0 = 0.

    NaN if they are empty, sum to nothing or are not finite.
    """
    total = float(weights.sum(dtype=np.float64)) if weights.size else 0.0
    if not (np.isfinite(total) and total > 0):
        return float("nan")
    p = weights.astype(np.float64) / total
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def von_neumann_entropy(gram: Floats) -> float:
    """Entropy in nats of a positive semi-definite matrix scaled to trace 1: 0 .. ln(rank).

    gram: (k, k), a Gram or covariance matrix; both of X X^T and X^T X give the same number.
    Eigenvalues that rounding made negative count as 0. NaN if the trace is 0 or not finite.
    Source: Sanchez Giraldo, Rao & Principe 2015, https://arxiv.org/abs/1211.2459, alpha -> 1.
    """
    matrix = np.asarray(gram, dtype=np.float64)
    trace = float(np.trace(matrix))
    if not (np.isfinite(trace) and trace > 0):
        return float("nan")
    return max(0.0, shannon_entropy(np.clip(np.linalg.eigvalsh(matrix), 0.0, None)))


def effective_rank_of(variances: NDArray[np.float64] | None) -> float:
    """exp of the entropy of the singular values, which are the variances' square roots.

    1 .. number of variances. NaN if there are none (rows that do not vary).
    """
    return float("nan") if variances is None else float(np.exp(shannon_entropy(np.sqrt(variances))))


def participation_ratio_of(variances: NDArray[np.float64] | None) -> float:
    """(sum v)^2 / sum v^2: 1 .. number of variances. NaN if there are none."""
    if variances is None:
        return float("nan")
    shares = variances / variances.sum()
    return float(1.0 / (shares @ shares))


def top_share_of(variances: NDArray[np.float64] | None) -> float:
    """The largest variance's share of all, above 0 and up to 1. NaN if there are none."""
    return float("nan") if variances is None else float(variances.max() / variances.sum())
