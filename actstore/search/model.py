"""One model of all arms and tasks: what is learnt at one layer tells of its neighbours.

A score is a task's level and scale, times a surface over the arms that all tasks share plus one of
the task's own:

    score[arm, task] = level[task] + scale[task] * (shared(arm) + own[task](arm) + noise)

Both are Gaussian processes over depth and log step, and, where there are any, over metrics, whose
part is added so that it can be learnt to be nothing. The objective is a weighted sum of scores, so
its posterior is Gaussian too and needs no task to be complete.
Sources: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, chapter 2, equations
2.23 and 2.24; Bonilla et al. 2008, Multi-task Gaussian process prediction, NeurIPS 20, equation 1
(with one correlation between all tasks).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, WhiteKernel

from actstore.search.kernels import OnColumns

Floats = NDArray[np.float64]
_SAME_TASK = RBF(1e-2, "fixed")
"""One for equal task numbers, zero for any others."""


@dataclass(frozen=True)
class Posterior:
    """What is believed of the objective at every arm."""

    mean: Floats
    """(arm,), in the objective's unit."""
    covariance: Floats
    """(arm, arm)."""
    gains: Floats
    """(arm, task): by how much observing this score would reduce the arm's variance."""

    @property
    def sd(self) -> Floats:
        return np.sqrt(np.maximum(np.diag(self.covariance), 0))


class SharedModel:
    """The model, with the hyperparameters it has learnt so far."""

    def __init__(self, positions: Floats, metrics: Floats, n_tasks: int) -> None:
        """positions: (arm, 2), depth and log step in 0 .. 1. metrics: (arm, metric), standardised,
        of no columns where there are none."""
        self.inputs = np.column_stack([positions, metrics])
        self.n_tasks = n_tasks
        self._n_positions, self._n_metrics = positions.shape[1], metrics.shape[1]
        self._kernel = self._prior()
        self._fitted_to = 0

    def posterior(self, scores: Floats, weights: Floats) -> Posterior:
        """Condition on scores, (arm, task), NaN where not observed; every task has two or more.

        weights: (task,), of the objective.
        """
        level = np.nanmean(scores, axis=0)
        scale = np.maximum(np.nanstd(scores, axis=0), 1e-9)
        arms, tasks = np.nonzero(np.isfinite(scores))
        observed = (scores[arms, tasks] - level[tasks]) / scale[tasks]
        fitted = self._fit(self._pairs(arms, tasks), observed)
        return self._condition(fitted, tasks, weights * scale, float(weights @ level))

    def _fit(self, pairs: Floats, values: Floats) -> GaussianProcessRegressor:
        """Learns hyperparameters again once there are a quarter more observations."""
        again = len(values) >= 1.25 * self._fitted_to
        optimizer = "fmin_l_bfgs_b" if again else None
        model = GaussianProcessRegressor(self._kernel, alpha=1e-8, optimizer=optimizer)
        with warnings.catch_warnings():
            # A hyperparameter at its bound is an answer: metrics that tell nothing get no part.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(pairs, values)
        if again:
            self._kernel, self._fitted_to = model.kernel_, len(values)
        return model

    def _condition(
        self, fitted: GaussianProcessRegressor, tasks: NDArray[np.intp], pull: Floats, offset: float
    ) -> Posterior:
        """pull: (task,), what one unit of a task's standardised score adds to the objective."""
        shared, own, noise = self._parts(fitted.kernel_)
        n_arms = len(self.inputs)
        every = self._pairs(np.arange(n_arms), np.zeros(n_arms))
        seen = fitted.X_train_
        of_seen = seen.copy()
        of_seen[:, -1] = 0  # the parts are asked about arms alone
        k_shared, k_own = shared(every, of_seen), own(every, of_seen)
        cross = pull.sum() * k_shared + pull[tasks] * k_own
        mean = offset + cross @ fitted.alpha_
        prior = pull.sum() ** 2 * shared(every) + (pull**2).sum() * own(every)
        covariance = prior - cross @ cho_solve((fitted.L_, True), cross.T)
        return Posterior(mean, covariance, self._gains(fitted, cross, pull, noise))

    def _gains(
        self, fitted: GaussianProcessRegressor, cross: Floats, pull: Floats, noise: float
    ) -> Floats:
        shared, own, _ = self._parts(fitted.kernel_)
        n_arms = len(self.inputs)
        gains = np.empty((n_arms, self.n_tasks))
        solved = cho_solve((fitted.L_, True), cross.T)
        arms = np.arange(n_arms)
        one = self._pairs(arms, np.zeros(n_arms))
        prior_shared, prior_own = shared.diag(one), own.diag(one)
        for task in range(self.n_tasks):
            pairs = self._pairs(arms, np.full(n_arms, task))
            k = fitted.kernel_(pairs, fitted.X_train_)
            variance = (
                prior_shared
                + prior_own
                - np.einsum("an,na->a", k, cho_solve((fitted.L_, True), k.T))
            )
            with_objective = pull.sum() * prior_shared + pull[task] * prior_own
            with_objective = with_objective - np.einsum("an,na->a", k, solved)
            gains[:, task] = with_objective**2 / (np.maximum(variance, 0) + noise)
        return gains

    def _pairs(self, arms: NDArray[np.intp], tasks: NDArray[np.number]) -> Floats:
        return np.column_stack([self.inputs[arms], tasks])

    def _prior(self) -> Kernel:
        """shared + own * same task + noise, with bounds that keep surfaces smooth."""
        columns = range(self._n_positions)

        def surface(amplitude: float) -> Kernel:
            lengths = Matern([0.3] * self._n_positions, (0.05, 5.0), nu=2.5)
            return ConstantKernel(amplitude, (1e-3, 1e2)) * OnColumns(lengths, columns)

        shared = surface(1.0)
        if self._n_metrics:
            last = self._n_positions + self._n_metrics
            lengths = RBF(np.sqrt(self._n_metrics) * 2, (0.5, 50.0))
            part = ConstantKernel(0.1, (1e-5, 1e1)) * OnColumns(
                lengths, range(self._n_positions, last)
            )
            shared = shared + part
        task = [self._n_positions + self._n_metrics]
        own = surface(0.1) * OnColumns(_SAME_TASK, task)
        return shared + own + WhiteKernel(1e-3, (1e-6, 1e-1))

    def _parts(self, kernel: Kernel) -> tuple[Kernel, Kernel, float]:
        """The shared surface, a task's own, and the noise's variance."""
        surfaces, noise = kernel.k1, kernel.k2
        return surfaces.k1, surfaces.k2.k1, float(noise.noise_level)
