"""Spectral metrics of one (checkpoint, layer), against the product and the spectrum they rest on.

The floor is one float64 `X.T @ X` of rows that are float64 already, and one `eigvalsh`. Metrics
get the rows in float32, as a store gives them: widening and centring them, the second spectrum
(of rows that are not centred, for rankme) and the pass for mean_cosine are all on their side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from actstore.metrics import resolve_metrics
from actstore.metrics.blocks import PooledBlock
from benchmarks.timing import Row, paired_costs, ratios

METRICS = (
    "anisotropy",
    "covariance_entropy",
    "effective_rank",
    "isoscore",
    "logdet_covariance",
    "mean_cosine",
    "participation_ratio",
    "rankme",
    "spectral_norm",
    "spectral_slope",
    "top_pc_share",
)
FLOOR, TOGETHER = "floor", "together"


def spectra_rows(*, rows: int, hidden: int, rounds: int) -> Iterator[Row]:
    """One line: all of METRICS together, as a ratio to the floor."""
    costs = paired_costs(spectra_cases(rows, hidden), rounds)
    together = ratios(costs[TOGETHER], costs[FLOOR])
    what = f"{len(METRICS)} spectral metrics of one (checkpoint, layer), N={rows:,}, d={hidden}"
    yield Row(what, "≤ 1.3 x CPU", f"{together.cpu:.2f} x (of one X.T @ X and eigvalsh)")


def spectra_cases(rows: int, hidden: int) -> dict[str, Callable[[], object]]:
    """The two sides, over the same rows; each is run once, for what libraries do at first."""
    states = states_like_a_models(rows, hidden)
    wide = states.astype(np.float64)
    cases: dict[str, Callable[[], object]] = {
        FLOOR: lambda: np.linalg.eigvalsh(wide.T @ wide),
        TOGETHER: lambda: spectral_values(states),
    }
    for run in cases.values():
        run()
    return cases


def spectral_values(states: NDArray[np.float32]) -> dict[str, float]:
    """METRICS of the rows: as in a run, those with the same chunk share its statistic."""
    metrics = resolve_metrics(METRICS)
    block = PooledBlock.of(states)
    statistics = {chunk: chunk(block) for chunk in dict.fromkeys(m.chunk for m in metrics)}
    return {metric.name: metric.finalize(statistics[metric.chunk]) for metric in metrics}


def states_like_a_models(rows: int, hidden: int) -> NDArray[np.float32]:
    """(row, hidden): a falling spectrum, a mean far from zero, and a few massive dimensions."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((rows, hidden), np.float32)
    states *= rng.permutation(np.geomspace(3, 0.1, hidden)).astype(np.float32)
    states += rng.standard_normal(hidden, np.float32)
    states[:, :: max(1, hidden // 3)] *= 300
    return states
