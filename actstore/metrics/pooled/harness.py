"""The quantities that layerwise-checkpoint-search publishes under the names of other metrics.

Its `prompt_entropy`, `dataset_entropy` and `curvature` are proxies from pooled, unit-length rows:
entropies of histograms, and a condition number. They are here as `lcs_*`, so that its numbers can
be compared; they are not the quantities of those names in the literature. Its constants, 1e-10
among them, are kept. Where it gives 0.0 for failure, these give NaN. It draws from NumPy's global
generator, never seeded: a drawn sample is equal to its own in distribution only.

Source of all: `src/layer_time/metrics.py` of
https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search at 5815dae.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from actstore.metrics.blocks import ROUNDING, Floats, PooledBlock
from actstore.metrics.pooled.moments import Moments, merge_moments, moments
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import Spectrum
from actstore.metrics.statistics import Rows, merge_rows, rows_as_they_are

Numbers: TypeAlias = NDArray[np.float64]

_TINY = 1e-10
"""The harness' constant: added to counts, norms and denominators, and the least eigenvalue."""
_REFERENCE = (
    "https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search at 5815dae, "
    "src/layer_time/metrics.py, {name}; of rows of unit length"
)


@dataclass(frozen=True)
class MeasuredRows(Rows):
    """Some texts' states, and how the numbers that the metric sums up are made of them."""

    measure: Callable[[Floats], Numbers]
    """(row, hidden), finite, two rows or more -> the numbers; none if they say nothing."""
    reason: str
    """Why there may be none."""

    @cached_property
    def numbers(self) -> Numbers:
        """What `measure` makes of the rows; none where it is not defined."""
        return np.empty(0) if super().degenerate else self.measure(self.states)

    @property
    def degenerate(self) -> str:
        return super().degenerate or ("" if self.numbers.size else self.reason)


def merge_measured_rows(a: MeasuredRows, b: MeasuredRows) -> MeasuredRows:
    """The rows of both parts."""
    rows = merge_rows(a, b)
    return MeasuredRows(rows.rows, rows.states, a.measure, a.reason)


def lcs_prompt_entropy(states: Floats, *, bins: int = 50) -> float:
    """Entropy in nats of a histogram of the rows' scores on their first principal axis.

    states: (row, hidden), any float dtype; each row is scaled to length 1, then all are centred.
    The bins are as wide as the range of the scores takes, 0 .. ln(bins). It says nothing of single
    prompts; `prompt_entropy` does. NaN for one row, or rows of one direction, where the harness
    has 0.0 or the entropy of rounding.
    """
    return _histogram_entropy(_prompt_entropy_rows(PooledBlock.of(states)), bins)


def lcs_dataset_entropy(states: Floats, *, bins: int = 50, seed: int = 0) -> float:
    """Entropy in nats of a histogram of the cosine distances between the rows, over all pairs.

    states: (row, hidden), any float dtype. Of more than 1,000 rows, 1,000 are drawn by `seed`. The
    bins are as wide as the range of the distances takes, 0 .. ln(bins). `dataset_entropy` is
    another quantity. NaN for one row, or where all distances are the same (also for two rows).
    """
    return _histogram_entropy(_dataset_entropy_rows(PooledBlock.of(states), seed), bins)


def lcs_curvature(states: Floats) -> float:
    """Mean condition number of the covariance of a row's 10 nearest neighbours.

    states: (row, hidden), any float dtype; each row is scaled to length 1. Over the first 100
    rows; neighbours among all of them, by distance, fewer than 10 if there are no more. Of the
    covariance's eigenvalues above 1e-10, the largest / (the smallest + 1e-10): 1 .. inf. A row
    whose neighbours vary along one axis only is left out. It is not about trajectories of tokens;
    `curvature` is. NaN for fewer than three rows, or if every row is left out.
    """
    return _mean(_curvature_rows(PooledBlock.of(states)))


def lcs_effective_rank(states: Floats) -> float:
    """`effective_rank` of rows scaled to length 1, with the harness' constants: 1 .. rows - 1.

    states: (row, hidden), any float dtype; a zero row stays zero. Shares of the singular values
    are s / (sum + 1e-10); those of 1e-10 or less do not count; ln takes them + 1e-10. Singular
    values come from the covariance: what is below 5e-7 of the largest may count as 0. NaN for
    one row, or rows of one direction, where the harness has 1.0.
    """
    return _lcs_effective_rank(unit_moments(PooledBlock.of(states)))


def unit_moments(block: PooledBlock) -> Moments:
    """Moments of the rows scaled to length 1."""
    return moments(PooledBlock(_unit(block.states), block.rows))


def _unit(states: Floats) -> NDArray[np.float64]:
    """Rows scaled to length 1, as torch's `normalize` has it: zero rows stay zero."""
    wide = states.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        wide /= np.maximum(np.sqrt(np.vecdot(wide, wide)), 1e-12)[:, None]
    return wide


def _scores(states: Floats) -> Numbers:
    """(row,): along the first principal axis of the unit rows; none if they do not vary."""
    rows = _unit(states)
    rows -= rows.mean(axis=0)
    if np.abs(rows).max() <= ROUNDING:
        return np.empty(0)
    few = len(rows) <= rows.shape[1]
    gram = rows @ rows.T if few else rows.T @ rows
    values, vectors = np.linalg.eigh(gram)
    axis = vectors[:, -1]
    return np.asarray(axis * np.sqrt(values[-1]) if few else rows @ axis, np.float64)


def _distances(states: Floats, seed: int) -> Numbers:
    """(pair,): cosine distances of at most 1,000 rows; none if all are the same."""
    drawn = np.random.default_rng(seed).choice(len(states), min(1000, len(states)), replace=False)
    rows = _unit(states[drawn])
    rows /= (np.sqrt(np.vecdot(rows, rows)) + _TINY)[:, None]
    distances = (1.0 - rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    return distances if np.ptp(distances) > ROUNDING else np.empty(0)


def _conditions(states: Floats) -> Numbers:
    """(row,): condition numbers around the first 100 rows, those left out that have none."""
    rows = _unit(states)
    n_neighbours = min(10, len(rows) - 1)
    if n_neighbours < 2:
        return np.empty(0)
    first = rows[:100]
    nearest = np.argsort(cdist(first, rows), axis=1, kind="stable")[:, 1 : n_neighbours + 1]
    around = rows[nearest]
    around -= around.mean(axis=1, keepdims=True)
    grams = around @ around.transpose(0, 2, 1) / (n_neighbours - 1)
    spectra = [spectrum[spectrum > _TINY] for spectrum in np.linalg.eigvalsh(grams)]
    return np.array([s[-1] / (s[0] + _TINY) for s in spectra if len(s) > 1])


def _measured(block: PooledBlock, measure: Callable[[Floats], Numbers], why: str) -> MeasuredRows:
    rows = rows_as_they_are(block.rows, block.states)
    return MeasuredRows(rows.rows, rows.states, measure, why)


def _prompt_entropy_rows(block: PooledBlock) -> MeasuredRows:
    return _measured(block, _scores, "all rows have one direction")


def _dataset_entropy_rows(block: PooledBlock, seed: int = 0) -> MeasuredRows:
    return _measured(block, partial(_distances, seed=seed), "all rows are equally far apart")


def _curvature_rows(block: PooledBlock) -> MeasuredRows:
    return _measured(block, _conditions, "no row's neighbours vary along two axes")


def _histogram_entropy(stats: MeasuredRows, bins: int = 50) -> float:
    if stats.degenerate:
        return float("nan")
    counts = np.histogram(stats.numbers, bins)[0] + _TINY
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _mean(stats: MeasuredRows) -> float:
    return float("nan") if stats.degenerate else float(stats.numbers.mean())


def _lcs_effective_rank(stats: Moments) -> float:
    if stats.degenerate:
        return float("nan")
    sigma: Spectrum = np.sqrt(stats.spectrum)
    shares = sigma / (sigma.sum() + _TINY)
    shares = shares[shares > _TINY]
    return float(np.exp(-(shares * np.log(shares + _TINY)).sum()))


_of_rows = partial(
    Metric[PooledBlock, MeasuredRows],
    over="pooled",
    combine=merge_measured_rows,
    invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
    all_pairs=True,
)

register(
    _of_rows(
        name="lcs_prompt_entropy",
        formula="H(\\mathrm{hist}_{50}(U v_1)),\\ v_1 = \\mathrm{PC}_1(U),\\ u_i = x_i / |x_i|",
        range="0 .. ln 50",
        cost="n d min(n, d)",
        chunk=_prompt_entropy_rows,
        finalize=_histogram_entropy,
        reference=_REFERENCE.format(name="compute_prompt_entropy"),
        unit="nats",
        description="the harness' prompt_entropy: histogram of scores on the first principal axis",
    )
)
register(
    _of_rows(
        name="lcs_dataset_entropy",
        formula="H(\\mathrm{hist}_{50}(1 - \\cos(x_i, x_j))),\\ i < j",
        range="0 .. ln 50",
        cost="n^2 d, n = 1000 at most",
        chunk=_dataset_entropy_rows,
        finalize=_histogram_entropy,
        reference=_REFERENCE.format(name="compute_dataset_entropy") + ", drawn with seed 0",
        unit="nats",
        description="the harness' dataset_entropy: histogram of cosine distances between texts",
    )
)
register(
    _of_rows(
        name="lcs_curvature",
        formula="\\mathrm{mean}_i\\ \\lambda_{\\max}(C_i) / (\\lambda_{\\min}(C_i) + 10^{-10})",
        range="1 .. inf",
        cost="100 n d",
        chunk=_curvature_rows,
        finalize=_mean,
        reference=_REFERENCE.format(name="compute_curvature"),
        unit="ratio",
        description="the harness' curvature: condition number of 10 nearest neighbours' covariance",
    )
)
register(
    Metric(
        name="lcs_effective_rank",
        formula="\\exp(-\\sum_k p_k \\ln(p_k + 10^{-10})),\\ p = \\sigma / \\sum \\sigma",
        range="1 .. min(n - 1, d)",
        cost="n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pooled",
        chunk=unit_moments,
        combine=merge_moments,
        finalize=_lcs_effective_rank,
        reference=_REFERENCE.format(name="compute_effective_rank"),
        unit="dimensions",
        description="the harness' effective_rank: that of unit-length rows",
    )
)
