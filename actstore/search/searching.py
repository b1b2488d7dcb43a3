"""The search: what to score next, what is best so far, and when to stop.

Bayesian optimisation with racing. Each turn takes the arm of the largest expected improvement for
its cost, and scores the one task of it that tells most about its objective for its cost; so an arm
that a few cheap tasks show to be poor is left before the others are spent on it. An arm's task is
never scored twice.
Sources: Jones, Schonlau & Welch 1998, Efficient global optimization, equation 15 (expected
improvement); Snoek, Larochelle & Adams 2012, Practical Bayesian optimization, section 3.2 (per
second); Swersky, Snoek & Adams 2013, Multi-task Bayesian optimization, section 4 (choosing tasks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from actstore.search.arms import Arms
from actstore.search.model import Posterior, SharedModel
from actstore.search.objective import Objective

Floats = NDArray[np.float64]
_SAMPLES = 2000
"""Of the posterior, for the probability that nothing better is left: its error is about 0.01."""


@dataclass(frozen=True)
class Costs:
    """What scoring takes, in any one unit."""

    tasks: Floats
    """(task,): evaluating one task at one layer."""
    extraction: float = 0.0
    """Running a checkpoint that is not extracted yet, once for all its layers."""


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes about it."""

    n_first: int = 5
    """Arms that are scored on every task before anything is learnt, spread over depth and step."""
    race: bool = True
    """Score one task at a time; otherwise all of an arm's."""
    tolerance: float = 0.003
    """A best arm by less than this is no better, in the objective's unit."""
    confidence: float = 0.95
    """Stop once the best arm found is the best of all, but for the tolerance, this surely."""
    seed: int = 0


@dataclass(frozen=True)
class Proposal:
    """What to score next."""

    arm: int
    tasks: tuple[int, ...]
    """Indices into the objective's tasks."""


@dataclass(frozen=True)
class Standing:
    """What a search believes."""

    best: int
    """The arm of the highest expected objective, of those that something was scored of."""
    expected: float
    """Its objective."""
    sd: float
    """How surely; 0 where it is known."""
    confidence: float
    """Probability, under the model, that no arm is better by more than the tolerance."""


class Search:
    """One search over some arms: told scores, it proposes what to score next."""

    def __init__(
        self,
        arms: Arms,
        objective: Objective,
        costs: Costs,
        settings: SearchSettings | None = None,
        extracted: frozenset[str] = frozenset(),
    ) -> None:
        """extracted: checkpoints whose states are there already."""
        self.arms, self.objective, self.costs = arms, objective, costs
        self.settings = settings or SearchSettings()
        self.extracted = set(extracted)
        self.scores = np.full((len(arms), len(objective.tasks)), np.nan)
        self._model = SharedModel(arms.positions, arms.metrics, len(objective.tasks))
        self._first = spread_arms(arms, self.settings.n_first, self.settings.seed)
        self._posterior: Posterior | None = None

    def tell(self, arm: int, task: int, score: float) -> None:
        """Note a score. A NaN is one that could not be had: the task is not proposed again."""
        self.scores[arm, task] = score
        self.extracted.add(self.arms.checkpoint[arm])
        self._posterior = None

    def propose(self) -> Proposal | None:
        """What to score next; None once everything is scored."""
        for arm in self._first:
            if open_tasks := self._open(arm):
                return Proposal(arm, tuple(open_tasks))
        worth = expected_improvement(self.posterior(), self.standing_best()) / self._cost_of_arms()
        worth[[not self._open(arm) for arm in range(len(self.arms))]] = -np.inf
        arm = int(np.argmax(worth))
        if not self._open(arm):
            return None
        return Proposal(arm, self._tasks_of(arm))

    @property
    def learns(self) -> bool:
        """Whether the first arms are scored, so that there is something to learn from."""
        return not any(self._open(arm) for arm in self._first)

    def posterior(self) -> Posterior:
        """What is believed of every arm; needs the first arms to be scored."""
        if self._posterior is None:
            self._posterior = self._model.posterior(self.scores, self.objective.weights)
        return self._posterior

    def standing_best(self) -> int:
        """The arm with the highest expected objective, of those that something was scored of."""
        touched = np.isfinite(self.scores).any(axis=1)
        return int(np.argmax(np.where(touched, self.posterior().mean, -np.inf)))

    def standing(self) -> Standing:
        """What is best so far, and how surely."""
        posterior, best = self.posterior(), self.standing_best()
        return Standing(
            best=best,
            expected=float(posterior.mean[best]) + self.objective.constant,
            sd=float(posterior.sd[best]),
            confidence=probability_none_better(
                posterior, best, self.settings.tolerance, self.settings.seed
            ),
        )

    def _open(self, arm: int) -> list[int]:
        """The tasks of an arm that are not scored, the cheapest first."""
        tasks = np.flatnonzero(np.isnan(self.scores[arm]))
        cheapest = np.argsort(self.costs.tasks[tasks], kind="stable")
        return [int(task) for task in tasks[cheapest]]

    def _tasks_of(self, arm: int) -> tuple[int, ...]:
        open_tasks = self._open(arm)
        if not self.settings.race:
            return tuple(open_tasks)
        gains = self.posterior().gains[arm, open_tasks] / self.costs.tasks[open_tasks]
        return (open_tasks[int(np.argmax(gains))],)

    def _cost_of_arms(self) -> Floats:
        """(arm,): of what would be scored of it next, and of extracting it first."""
        new = np.array([name not in self.extracted for name in self.arms.checkpoint])
        left = np.where(np.isnan(self.scores), self.costs.tasks, np.nan)
        step = np.nanmin if self.settings.race else np.nansum
        everything = np.isnan(left).all(axis=1)
        scoring = np.ones(len(self.arms))
        scoring[~everything] = step(left[~everything], axis=1)
        return scoring + self.costs.extraction * new


def expected_improvement(posterior: Posterior, best: int) -> Floats:
    """(arm,): by how much each is expected to exceed the best arm's expected objective."""
    sd = np.maximum(posterior.sd, 1e-12)
    ahead = posterior.mean - posterior.mean[best]
    z = ahead / sd
    values: Floats = ahead * norm.cdf(z) + sd * norm.pdf(z)
    return values


def probability_none_better(posterior: Posterior, best: int, tolerance: float, seed: int) -> float:
    """That no arm's objective exceeds the best one's by more than the tolerance."""
    rng = np.random.default_rng(seed)
    jitter = 1e-9 * max(float(np.diag(posterior.covariance).max()), 1e-12)
    values, vectors = np.linalg.eigh(posterior.covariance)
    root = vectors * np.sqrt(np.maximum(values, jitter))
    drawn = posterior.mean + rng.standard_normal((_SAMPLES, len(values))) @ root.T
    return float(np.mean(drawn.max(axis=1) - drawn[:, best] <= tolerance))


def spread_arms(arms: Arms, n: int, seed: int) -> list[int]:
    """Arms far from each other in depth and log step, from a random one on.

    Source: Gonzalez 1985, Clustering to minimize the maximum intercluster distance (farthest
    first).
    """
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(arms)))]
    while len(chosen) < min(n, len(arms)):
        apart = arms.positions[:, None] - arms.positions[chosen][None]
        nearest = (apart**2).sum(-1).min(axis=1)
        chosen.append(int(np.argmax(nearest + 1e-9 * rng.random(len(arms)))))
    return chosen
