"""The prior of the model, and what it learns of it: how smooth scores are, how alike tasks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, WhiteKernel

from actstore.search.kernels import OnColumns

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SAME_TASK = RBF(1e-2, "fixed")
"""One for equal task numbers, zero for any others."""
_FEWEST = 8
"""Fewer scores than this teach no hyperparameters."""
_MOST = 400
"""Hyperparameters are learnt from so many scores at most: more cost much and change little."""


@dataclass(frozen=True)
class Surfaces:
    """How standardised scores vary: kernels over arms' inputs, and what is left over."""

    shared: Kernel
    """Of the surface that all tasks share."""
    own: Kernel
    """Of the surface that each task has besides."""
    rest: float
    """Variance of what no surface explains; it is part of a score, not an error of measuring."""


class Learner:
    """Learns hyperparameters by maximum likelihood, from the first so many of some scores."""

    def __init__(self, n_positions: int, n_metrics: int) -> None:
        """The first columns of inputs are positions, those behind them metrics."""
        self._prior = _prior(n_positions, n_metrics)

    def learn(self, inputs: Floats, tasks: Integers, values: Floats) -> Surfaces:
        """From standardised scores: inputs (n, column) of their arms, (n,) tasks and values."""
        kernel = self._prior
        if len(values) >= _FEWEST:
            some = _some(len(values))
            model = GaussianProcessRegressor(kernel, alpha=1e-8)
            with warnings.catch_warnings():
                # One at its bound is an answer: metrics that tell nothing get no part.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(np.column_stack([inputs, tasks])[some], values[some])
            kernel = model.kernel_
        surfaces, rest = kernel.k1, kernel.k2
        return Surfaces(surfaces.k1, surfaces.k2.k1, float(rest.noise_level))


@cache
def learnt_from(n: int) -> int:
    """From how many of the first n scores hyperparameters are learnt.

    It grows by quarters, so that few of many scores ask for learning again; and depends on n alone,
    so that a search that was interrupted goes on with what it had.
    """
    count = _FEWEST
    while (more := int(np.ceil(1.25 * count))) <= n:
        count = more
    return min(count, n)


def _some(n: int) -> NDArray[np.intp]:
    if n <= _MOST:
        return np.arange(n)
    return np.sort(np.random.default_rng(n).choice(n, _MOST, replace=False))


def _prior(n_positions: int, n_metrics: int) -> Kernel:
    """shared + own * same task + rest, with bounds that keep surfaces smooth."""
    shared = _surface(1.0, n_positions)
    if n_metrics:
        columns = range(n_positions, n_positions + n_metrics)
        lengths = RBF(2 * np.sqrt(n_metrics), (0.5, 50.0))
        shared = shared + ConstantKernel(0.1, (1e-5, 1e1)) * OnColumns(lengths, columns)
    same_task = OnColumns(_SAME_TASK, [n_positions + n_metrics])
    own = _surface(0.1, n_positions) * same_task
    return shared + own + WhiteKernel(1e-3, (1e-6, 1e-1))


def _surface(amplitude: float, n_positions: int) -> Kernel:
    lengths = Matern([0.3] * n_positions, (0.05, 5.0), nu=2.5)
    return ConstantKernel(amplitude, (1e-3, 1e2)) * OnColumns(lengths, range(n_positions))
