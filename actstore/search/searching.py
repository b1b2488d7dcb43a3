"""The search: what to score next, what is best so far, and when to stop.

Bayesian optimisation with racing. Each turn takes the arm of the largest expected improvement for
its cost, and scores the one task of it that tells most about its objective for its cost; so an arm
that a few cheap tasks show to be poor is left before the others are spent on it. An arm's task is
never scored twice.
All that a search holds is the scores it was told, in order: a search that is told the same scores
again proposes the same.
Sources: Jones, Schonlau & Welch 1998, Efficient global optimization, equation 15 (expected
improvement); Snoek, Larochelle & Adams 2012, Practical Bayesian optimization, section 3.2 (per
second); Swersky, Snoek & Adams 2013, Multi-task Bayesian optimization, section 4 (choosing tasks);
Ginsbourger, Le Riche & Carraro 2010, Kriging is well-suited to parallelize optimization, section
4.1 (proposals beyond the first believe what the model expects of those before them).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from actstore.search.arms import Arms
from actstore.search.confidence import probability_none_better
from actstore.search.model import SharedModel, Told
from actstore.search.objective import Objective
from actstore.search.posterior import Posterior

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Costs:
    """What scoring takes, in any one unit."""

    tasks: Floats
    """(task,): evaluating one task at one layer; above 0."""
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
    """How surely; 0 where all its tasks are scored."""
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
        shape = len(arms), len(objective.tasks)
        self.scores = np.full(shape, np.nan)
        """(arm, task), NaN where there is none."""
        self._closed = np.zeros(shape, bool)
        self._order: list[tuple[int, int]] = []
        self._model = SharedModel(arms.positions, arms.metrics)
        self._first = spread_arms(arms, self.settings.n_first, self.settings.seed)
        self._posteriors: dict[int, Posterior] = {}
        self._standings: dict[int, Standing] = {}

    def tell(self, arm: int, task: int, score: float) -> None:
        """Note a score. A NaN is one that could not be had: it is not proposed again."""
        self.extracted.add(self.arms.checkpoint[arm])
        if np.isfinite(score):
            if not self._closed[arm, task]:
                self._order.append((arm, task))
            self.scores[arm, task] = score
        self._closed[arm, task] = True

    @property
    def n_scores(self) -> int:
        """How many scores it was told."""
        return len(self._order)

    @property
    def learns(self) -> bool:
        """Whether the first arms are scored, so that there is something to learn from."""
        return bool(self._order) and bool(self._closed[self._first].all())

    def propose(self) -> Proposal | None:
        """What to score next; None once everything is scored, or was tried."""
        found = self.propose_several(1)
        return found[0] if found else None

    def propose_several(self, n: int) -> list[Proposal]:
        """What to score next, by several workers at a time; fewer than n where little is left.

        The first arms are proposed together, however many n is: none depends on another. Then each
        proposal believes those before it to turn out as expected, and never repeats their scores.
        """
        if not self.learns:
            return self._first_proposals()
        posterior = self._posterior(self.n_scores)
        best = self._best(posterior)
        closed, extracted = self._closed.copy(), set(self.extracted)
        found: list[Proposal] = []
        while len(found) < n and not closed.all():
            if found:
                posterior = posterior.believing(found[-1].arm, found[-1].tasks)
            proposal = self._proposal(posterior, best, closed, extracted)
            found.append(proposal)
            closed[proposal.arm, list(proposal.tasks)] = True
            extracted.add(self.arms.checkpoint[proposal.arm])
        return found

    def standing(self) -> Standing:
        """What is best so far, and how surely. Raises ValueError where nothing was told."""
        if not self._order:
            raise ValueError("A search that was told no score believes nothing yet.")
        return self._standing(self.n_scores)

    def best(self) -> int:
        """The arm with the highest expected objective, of those that something was scored of."""
        return self._best(self._posterior(self.n_scores))

    @property
    def complete(self) -> bool:
        """Whether everything is scored, or was tried."""
        return bool(self._closed.all())

    @property
    def done(self) -> bool:
        """Whether two looks in a row were as confident as asked.

        There is a look whenever as many scores came as there are tasks, or first arms where these
        are more. One look alone is too often confident by chance: it is the first of many.
        """
        every = max(len(self.objective.tasks), self.settings.n_first)
        last = self.n_scores // every * every
        if not self.learns or last - every < len(self._first) * len(self.objective.tasks):
            return False
        return all(
            self._standing(n).confidence >= self.settings.confidence for n in (last, last - every)
        )

    def _told(self, n: int | None = None) -> Told:
        order = np.array(self._order[:n], np.int64).reshape(-1, 2)
        return Told(order[:, 0], order[:, 1], self.scores[order[:, 0], order[:, 1]])

    def _posterior(self, n: int) -> Posterior:
        """Of the first n scores."""
        if n not in self._posteriors:
            posterior = self._model.posterior(self._told(n), self.objective.weights)
            self._posteriors = {n: posterior}  # those of fewer scores are not asked for again
        return self._posteriors[n]

    def _standing(self, n: int) -> Standing:
        if n not in self._standings:
            posterior = self._posterior(n)
            best = self._best(posterior, n)
            sure = probability_none_better(
                posterior, best, self.settings.tolerance, self.settings.seed
            )
            expected = float(posterior.mean[best]) + self.objective.constant
            self._standings[n] = Standing(best, expected, float(posterior.sd[best]), sure)
        return self._standings[n]

    def _best(self, posterior: Posterior, n: int | None = None) -> int:
        touched = np.unique([arm for arm, _ in self._order[:n]])
        return int(touched[np.argmax(posterior.mean[touched])])

    def _proposal(
        self, posterior: Posterior, best: int, closed: NDArray[np.bool_], extracted: set[str]
    ) -> Proposal:
        worth = expected_improvement(posterior, best) / self._cost_of_arms(closed, extracted)
        worth[closed.all(axis=1)] = -np.inf
        arm = int(np.argmax(worth))
        tasks = self._by_cost(np.flatnonzero(~closed[arm]))
        if self.settings.race:
            gains = posterior.gains(arm)[list(tasks)] / self.costs.tasks[list(tasks)]
            tasks = (tasks[int(np.argmax(gains))],)
        return Proposal(arm, tasks)

    def _first_proposals(self) -> list[Proposal]:
        """The first arms; one more at a time where none of their scores could be had."""
        waiting = [arm for arm in self._first if self._open(arm)]
        others = (arm for arm in range(len(self.arms)) if self._open(arm))
        return [Proposal(arm, self._open(arm)) for arm in waiting or islice(others, 1)]

    def _open(self, arm: int) -> tuple[int, ...]:
        return self._by_cost(np.flatnonzero(~self._closed[arm]))

    def _by_cost(self, tasks: NDArray[np.intp]) -> tuple[int, ...]:
        """The cheapest first."""
        order = np.argsort(self.costs.tasks[tasks], kind="stable")
        return tuple(int(task) for task in tasks[order])

    def _cost_of_arms(self, closed: NDArray[np.bool_], extracted: set[str]) -> Floats:
        """(arm,): of what would be scored of it next, and of extracting it first."""
        new = np.array([name not in extracted for name in self.arms.checkpoint])
        left = np.where(closed, np.inf if self.settings.race else 0.0, self.costs.tasks)
        scoring = left.min(axis=1) if self.settings.race else left.sum(axis=1)
        scoring[closed.all(axis=1)] = 1.0  # no such arm is proposed
        cost: Floats = scoring + self.costs.extraction * new
        return cost


def expected_improvement(posterior: Posterior, best: int) -> Floats:
    """(arm,): by how much each is expected to exceed the best arm's expected objective."""
    sd = np.maximum(posterior.sd, 1e-12)
    ahead = posterior.mean - posterior.mean[best]
    z = ahead / sd
    values: Floats = ahead * norm.cdf(z) + sd * norm.pdf(z)
    return values


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
        nearest[chosen] = -1.0  # arms at one place, such as `main` and the last step, are two
        chosen.append(int(np.argmax(nearest + 1e-9 * rng.random(len(arms)))))
    return chosen
