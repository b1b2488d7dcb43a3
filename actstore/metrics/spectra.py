"""Numbers read off a spectrum: entropies and effective dimensions, in nats and in dimensions."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.metrics.blocks import Floats
from actstore.refs import look_up

Spectrum: TypeAlias = NDArray[np.float64]
"""Positive eigenvalues, descending; empty if there are none or they are not known."""
Normalisation: TypeAlias = Literal["raw", "maxEntropy", "logN", "logD", "logNlogD"]
"""What an entropy is divided by; see `normalised_entropy`."""

_EPS = float(np.finfo(np.float64).eps)


def eigenvalues(matrix: Floats) -> Spectrum:
    """Eigenvalues of a positive semi-definite matrix, descending, without those that are rounding.

    matrix: (k, k), symmetric, any float dtype. What is below max(k, 16) * eps * largest, float64
    cannot tell from zero. Empty if the matrix is zero or not finite.

    Rows and columns are taken in the order of falling diagonal: beside a few massive dimensions
    the reduction to tridiagonal form then keeps the digits of the small eigenvalues, which in
    another order drown in the rounding of the largest (graded matrices; LAPACK's lower variant
    starts at the top left).
    """
    wide = np.asarray(matrix, dtype=np.float64)
    if not (wide.size and np.isfinite(wide).all()):
        return np.empty(0)
    order = np.argsort(np.diag(wide), kind="stable")[::-1]
    return _above_rounding(np.linalg.eigvalsh(_reordered(wide, order)))


def eigenvalues_plus(matrix: NDArray[np.float64], v: NDArray[np.float64]) -> Spectrum:
    """`eigenvalues` of a positive semi-definite matrix + v v^T.

    matrix: (k, k), symmetric. v: (k,). Empty if they are zero or not finite. Axes are turned so
    that v lies along the first, which the reduction to tridiagonal form leaves as it is: v v^T is
    one number there, however large, and does not drown the small eigenvalues.
    """
    length = math.sqrt(v @ v)
    if not (0 < length < math.inf and np.isfinite(matrix).all()):
        return eigenvalues(matrix)
    first = int(np.argmax(np.abs(v)))
    u = v.copy()
    u[first] += math.copysign(length, v[first])
    u /= math.sqrt(u @ u)  # I - 2 u u^T takes v to the axis `first`
    w = matrix @ u
    w = 2 * (w - (u @ w) * u)
    falling = np.diag(matrix) - 2 * u * w
    falling[first] = math.inf
    order = np.argsort(falling, kind="stable")[::-1]
    turned = _reordered(matrix, order)
    u, w = u[order], w[order]
    turned -= np.outer(u, w)
    turned -= np.outer(w, u)
    turned[0, 0] += length**2
    return _above_rounding(np.linalg.eigvalsh(turned))


def shannon_entropy(weights: Floats) -> float:
    """Entropy in nats of non-negative weights scaled to sum 1; 0 ln 0 = 0.

    NaN if they are empty, sum to nothing or are not finite.
    """
    p = _shares(weights)
    return max(0.0, float(-(p * np.log(p)).sum())) if p.size else float("nan")


def renyi_entropy(gram: Floats, alpha: float = 1.0) -> float:
    """Matrix-based Rényi entropy in nats of a positive semi-definite matrix scaled to trace 1.

    gram: (k, k), a Gram or covariance matrix, any float dtype; both of X X^T and X^T X give the
    same number. With eigenvalues p: ln(sum p^alpha) / (1 - alpha), 0 .. ln(rank); at 1 its limit,
    the von Neumann entropy, at 0 ln(rank), at infinity -ln(largest p). Eigenvalues that are
    rounding count as 0. NaN if the trace is 0 or the matrix is not finite.
    Raises InvalidInputError if alpha is negative or NaN.
    Source: Sanchez Giraldo, Rao & Principe 2015, https://arxiv.org/abs/1211.2459. The definition
    is by eigenvalues: the shortcut -ln ||K||_F^2 for alpha = 2 holds at trace 1 only.
    """
    return renyi_entropy_of(eigenvalues(gram), alpha)


def von_neumann_entropy(gram: Floats) -> float:
    """Entropy in nats of a positive semi-definite matrix scaled to trace 1: 0 .. ln(rank).

    gram: (k, k), a Gram or covariance matrix; both of X X^T and X^T X give the same number.
    Eigenvalues that are rounding count as 0. NaN if the trace is 0 or not finite.
    Source: Sanchez Giraldo, Rao & Principe 2015, https://arxiv.org/abs/1211.2459, alpha -> 1.
    """
    return renyi_entropy(gram, 1.0)


def renyi_entropy_of(weights: Floats, alpha: float) -> float:
    """Rényi entropy in nats of non-negative weights scaled to sum 1; `renyi_entropy` has the rest.

    NaN if they are empty, sum to nothing or are not finite.
    """
    if not alpha >= 0:
        raise InvalidInputError(
            f"alpha must be 0 or more, and is {alpha}. 1 is the von Neumann entropy."
        )
    p = _shares(weights)
    if not p.size:
        return float("nan")
    logs = np.log(p)
    if math.isinf(alpha):
        entropy = -logs.max()
    elif abs(alpha - 1) < 1e-12:
        entropy = -(p * logs).sum()
    elif abs(alpha - 1) < 0.5:
        # ln(sum p^alpha) is near 0 here, and would lose its digits: sum p (p^(alpha - 1) - 1)
        entropy = np.log1p((p * np.expm1((alpha - 1) * logs)).sum()) / (1 - alpha)
    else:
        top = logs.max()
        entropy = (alpha * top + np.log(np.exp(alpha * (logs - top)).sum())) / (1 - alpha)
    return max(0.0, float(entropy))


def normalised_entropy(entropy: float, n: int, d: int, normalisation: Normalisation) -> float:
    """An entropy in nats of n rows of d dimensions, in one of the scales it is published in.

    raw: as it is; maxEntropy: / min(ln n, ln d); logN: / ln n; logD: / ln d;
    logNlogD: / (ln n ln d). NaN where that divides by 0 (one row or one dimension).
    Raises UnknownNameError for another name.
    Source: the code of Skean et al. 2025, https://arxiv.org/abs/2502.02013. It gives 0.0, or
    fails, where this gives NaN.
    """
    look_up("normalisation", normalisation, get_args(Normalisation), "It scales an entropy.")
    if normalisation == "raw":
        return entropy
    log_n, log_d = math.log(max(n, 1)), math.log(max(d, 1))
    scale = {
        "maxEntropy": min(log_n, log_d),
        "logN": log_n,
        "logD": log_d,
        "logNlogD": log_n * log_d,
    }[normalisation]
    return entropy / scale if scale > 0 else float("nan")


def effective_rank_of(spectrum: Spectrum) -> float:
    """exp of the entropy of the singular values, which are the eigenvalues' square roots.

    1 .. number of eigenvalues. NaN if there are none (rows that do not vary).
    """
    return math.exp(shannon_entropy(np.sqrt(spectrum)))


def smoothed_rank_of(spectrum: Spectrum, most: int, epsilon: float) -> float:
    """`effective_rank_of` with `epsilon` added to the shares of all `most` singular values.

    Those that are not in the spectrum are 0. NaN if the spectrum is empty.
    """
    if epsilon == 0 or not spectrum.size:
        return effective_rank_of(spectrum)
    p = np.pad(_shares(np.sqrt(spectrum)), (0, most - len(spectrum))) + epsilon
    return math.exp(-float((p * np.log(p)).sum()))


def participation_ratio_of(spectrum: Spectrum) -> float:
    """(sum v)^2 / sum v^2: 1 .. number of eigenvalues. NaN if there are none."""
    p = _shares(spectrum)
    return float(1.0 / (p @ p)) if p.size else float("nan")


def top_share_of(spectrum: Spectrum) -> float:
    """The largest eigenvalue's share of all, above 0 and up to 1. NaN if there are none."""
    return float(_shares(spectrum).max(initial=-np.inf)) if spectrum.size else float("nan")


def isoscore_of(spectrum: Spectrum, d: int) -> float:
    """(participation ratio - 1) / (d - 1), of eigenvalues in d dimensions: 0 .. 1.

    NaN if there are none, or one dimension only.
    """
    return (participation_ratio_of(spectrum) - 1) / (d - 1) if d > 1 else float("nan")


def anisotropy_of(spectrum: Spectrum, d: int) -> float:
    """Standard deviation / mean of all d eigenvalues, those not in the spectrum being 0.

    0 .. sqrt(d - 1). NaN if there are none.
    """
    if not spectrum.size:
        return float("nan")
    every = np.pad(spectrum / spectrum[0], (0, d - len(spectrum)))
    return float(every.std() / every.mean())


def slope_of(spectrum: Spectrum, first: int = 1, last: int | None = None) -> float:
    """Slope of the least-squares line through (ln k, ln k-th eigenvalue), k = first .. last.

    0 for a flat spectrum, -a for eigenvalues that fall as k^-a. k counts from 1; last: None is
    the last one above rounding. NaN for fewer than two eigenvalues in that range.
    """
    kept = spectrum[first - 1 : last]
    if len(kept) < 2:
        return float("nan")
    x = np.log(np.arange(first, first + len(kept)))
    x -= x.mean()
    return float(x @ np.log(kept / kept[0]) / (x @ x))


def _reordered(matrix: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Rows and columns of a symmetric matrix in another order: whole rows first, that is faster."""
    rows_first = matrix.T if matrix.flags.f_contiguous else matrix
    return rows_first.take(order, axis=0).take(order, axis=1)


def _above_rounding(ascending: Floats) -> Spectrum:
    found = np.asarray(ascending[::-1], np.float64)
    return np.asarray(found[found > max(len(found), 16) * _EPS * max(found[0], 0.0)])


def _shares(weights: Floats) -> NDArray[np.float64]:
    """The weights above 0 scaled to sum 1; none if they sum to nothing or are not finite."""
    total = float(weights.sum(dtype=np.float64)) if weights.size else 0.0
    if not (math.isfinite(total) and total > 0):
        return np.empty(0)
    p = weights.astype(np.float64) / total
    return np.asarray(p[p > 0], np.float64)
