"""What is believed of the objective at every arm, given some scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from actstore.search.surfaces import Surfaces

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_JITTER = 1e-8


class Posterior:
    """A Gaussian over the objectives of all arms.

    The objective is a sum over tasks of `pull` times a standardised score. Source: Rasmussen &
    Williams 2006, Gaussian Processes for Machine Learning, equations 2.23 and 2.24.
    """

    def __init__(
        self,
        surfaces: Surfaces,
        inputs: Floats,
        observed: tuple[Integers, Integers, Floats],
        pull: Floats,
        offset: float,
    ) -> None:
        """inputs: (arm, column). observed: arms, tasks and standardised scores, (n,) each.

        pull: (task,), what one unit of a task's standardised score adds to the objective. offset:
        the objective where all of them are 0.
        """
        self._surfaces, self._inputs, self._pull, self._offset = surfaces, inputs, pull, offset
        self._arms, self._tasks, self._values = observed
        seen, place = np.unique(self._arms, return_inverse=True)
        shared = surfaces.shared(inputs, inputs[seen])
        own = surfaces.own(inputs, inputs[seen])
        same_task = self._tasks[:, None] == self._tasks
        among = shared[np.ix_(self._arms, place)] + same_task * own[np.ix_(self._arms, place)]
        self._lower = np.linalg.cholesky(
            among + (surfaces.rest + _JITTER) * np.eye(len(self._arms))
        )
        self._shared, self._own = shared[:, place], own[:, place]
        self._half = self._whiten(self._with_objective().T)
        self.mean: Floats = offset + self._half.T @ self._whiten(self._values)
        """(arm,), in the objective's unit."""
        left = self._prior_variance() - np.einsum("na,na->a", self._half, self._half)
        self.sd: Floats = np.sqrt(np.maximum(left, 0))
        """(arm,); 0, but for rounding, where every task is scored."""

    def covariance(self, some: NDArray[np.intp]) -> Floats:
        """Of some arms' objectives: (some, some)."""
        inputs, half = self._inputs[some], self._half[:, some]
        own = self._surfaces.own(inputs) + self._surfaces.rest * np.eye(len(some))
        prior = self._pull.sum() ** 2 * self._surfaces.shared(inputs) + (self._pull**2).sum() * own
        covariance: Floats = prior - half.T @ half
        return covariance

    def covariance_with(self, arm: int) -> Floats:
        """(arm,): of every arm's objective with one arm's."""
        inputs, one = self._inputs, self._inputs[[arm]]
        own = self._surfaces.own(inputs, one)[:, 0]
        own[arm] += self._surfaces.rest
        prior = self._pull.sum() ** 2 * self._surfaces.shared(inputs, one)[:, 0]
        covariance: Floats = prior + (self._pull**2).sum() * own - self._half.T @ self._half[:, arm]
        return covariance

    def believing(self, arm: int, tasks: Sequence[int]) -> Posterior:
        """As if an arm's scores on some tasks had come, just as they are expected."""
        prior = self._with_scores(arm)[:, list(tasks)]
        expected = self._whiten(prior).T @ self._whiten(self._values)
        observed = (
            np.append(self._arms, np.full(len(tasks), arm)),
            np.append(self._tasks, np.array(tasks)),
            np.append(self._values, expected),
        )
        return Posterior(self._surfaces, self._inputs, observed, self._pull, self._offset)

    def gains(self, arm: int) -> Floats:
        """(task,): by how much an arm's score on a task would reduce its objective's variance."""
        half, rest = self._whiten(self._with_scores(arm)), self._surfaces.rest
        shared, own = self._at(arm)
        variance = shared + own + rest - np.einsum("nt,nt->t", half, half)
        bound = self._pull.sum() * shared + self._pull * (own + rest) - half.T @ self._half[:, arm]
        known = variance <= 10 * _JITTER
        gains: Floats = np.where(known, 0.0, bound**2 / np.where(known, 1.0, variance))
        return gains

    def _with_scores(self, arm: int) -> Floats:
        """(n, task): prior covariance of the observed scores and one arm's on every task."""
        here = self._surfaces.rest * (self._arms == arm)
        same_task = self._tasks[:, None] == np.arange(len(self._pull))
        covariance: Floats = self._shared[arm][:, None] + same_task * (
            self._own[arm] + here
        ).reshape(-1, 1)
        return covariance

    def _with_objective(self) -> Floats:
        """(arm, n): prior covariance of the objectives and the scores."""
        pull, rest = self._pull[self._tasks], self._surfaces.rest
        here = np.arange(len(self._inputs))[:, None] == self._arms
        covariance: Floats = self._pull.sum() * self._shared + pull * (self._own + rest * here)
        return covariance

    def _prior_variance(self) -> Floats:
        shared, own = (
            self._surfaces.shared.diag(self._inputs),
            self._surfaces.own.diag(self._inputs),
        )
        variance: Floats = self._pull.sum() ** 2 * shared + (self._pull**2).sum() * (
            own + self._surfaces.rest
        )
        return variance

    def _at(self, arm: int) -> tuple[float, float]:
        one = self._inputs[[arm]]
        return float(self._surfaces.shared.diag(one)[0]), float(self._surfaces.own.diag(one)[0])

    def _whiten(self, right: Floats) -> Floats:
        solved: Floats = solve_triangular(self._lower, right, lower=True)
        return solved
