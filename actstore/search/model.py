"""One model of all arms and tasks: what is learnt at one layer tells of its neighbours.

A score is a task's level and scale, times a surface over the arms that all tasks share plus one of
the task's own, plus what no surface explains:

    score[arm, task] = level[task] + scale[task] * (shared(arm) + own[task](arm) + rest[arm, task])

The surfaces are Gaussian processes over depth and log step, and, where there are any, over metrics,
whose part is added so that it can be learnt to be nothing. The objective is a weighted sum of
scores, so its posterior is Gaussian too and needs no task to be complete; where all are, it is
known: a score has no error.
Source: Bonilla et al. 2008, Multi-task Gaussian process prediction, NeurIPS 20, equation 1 (with
one correlation between all tasks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.search.posterior import Posterior
from actstore.search.surfaces import Learner, Surfaces, learnt_from

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_NO_SPREAD = 1e-6
"""Scale of tasks whose scores are all equal, where no other has any spread either."""


@dataclass(frozen=True)
class Told:
    """Scores in the order in which they came."""

    arms: Integers
    tasks: Integers
    scores: Floats
    """Finite."""

    def __len__(self) -> int:
        return len(self.scores)

    def first(self, n: int) -> Told:
        return Told(self.arms[:n], self.tasks[:n], self.scores[:n])


class SharedModel:
    """The model, of some arms. It is the same for the same scores told in the same order."""

    def __init__(self, positions: Floats, metrics: Floats) -> None:
        """positions: (arm, 2), depth and log step in 0 .. 1. metrics: (arm, metric), standardised,
        of no columns where there are none."""
        self._inputs = np.column_stack([positions, metrics])
        self._learner = Learner(positions.shape[1], metrics.shape[1])
        self._learnt: dict[int, Surfaces] = {}

    def posterior(self, told: Told, weights: Floats) -> Posterior:
        """What is believed given one score or more. weights: (task,), of the objective."""
        level, scale = levels_and_scales(told, len(weights))
        values = (told.scores - level[told.tasks]) / scale[told.tasks]
        surfaces = self._surfaces(told.first(learnt_from(len(told))), len(weights))
        observed = (told.arms, told.tasks, values)
        return Posterior(surfaces, self._inputs, observed, weights * scale, float(weights @ level))

    def _surfaces(self, told: Told, n_tasks: int) -> Surfaces:
        """Learnt from these scores, or remembered."""
        if len(told) not in self._learnt:
            level, scale = levels_and_scales(told, n_tasks)
            values = (told.scores - level[told.tasks]) / scale[told.tasks]
            inputs = self._inputs[told.arms]
            self._learnt = {len(told): self._learner.learn(inputs, told.tasks, values)}
        return self._learnt[len(told)]


def levels_and_scales(told: Told, n_tasks: int) -> tuple[Floats, Floats]:
    """(task,) each: mean and standard deviation of a task's scores.

    A task without scores, or with scores that are all equal, takes what is missing from the mean of
    the others.
    """
    count = np.bincount(told.tasks, minlength=n_tasks)
    some = np.maximum(count, 1)
    level = np.bincount(told.tasks, told.scores, n_tasks) / some
    level[count == 0] = level[count > 0].mean()
    squares = np.bincount(told.tasks, (told.scores - level[told.tasks]) ** 2, n_tasks) / some
    scale = np.sqrt(squares)
    spread = scale > 1e-12 * np.maximum(np.abs(level), 1)
    scale[~spread] = scale[spread].mean() if spread.any() else _NO_SPREAD
    return level, scale
