"""What a search makes as high as it can: a weighted sum of an arm's task scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step, look_up

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A weighted sum of task scores and a constant."""

    name: str
    tasks: tuple[str, ...]
    weights: Floats
    """(task,)."""
    constant: float = 0.0

    def of(self, scores: Floats) -> Floats:
        """The objective of arms, (…,), from their scores, (…, task); NaN unless all are known."""
        values: Floats = scores @ self.weights + self.constant
        return values


def suite_mean(tasks: Sequence[str], part_of: Sequence[str] = ()) -> Objective:
    """The unweighted mean of the tasks' scores.

    part_of: for each task the aggregate that it counts in, together with its other parts as one
    task, or nothing; as a suite's mean does.
    """
    return Objective("mean of tasks", tuple(tasks), _shares(tasks, part_of))


def one_task(task: str, tasks: Sequence[str]) -> Objective:
    """The score of one task. Raises UnknownNameError."""
    found = look_up("task", task, list(tasks), "")
    return Objective(found, (found,), np.ones(1))


def z_score(tasks: Sequence[str], final: pd.DataFrame, part_of: Sequence[str] = ()) -> Objective:
    """The mean over tasks of (score - mean) / sd, both over the layers of the final checkpoint.

    So that no task counts more because its scores spread more. final: (layer, task), the final
    checkpoint's scores at every layer. part_of: as of `suite_mean`. Raises InvalidInputError where
    a task's are all equal, or some are missing.
    """
    table = final.reindex(columns=list(tasks))
    spread = table.std(ddof=0).to_numpy()
    unusable = [task for task, sd in zip(tasks, spread, strict=True) if not sd > 0]
    if unusable or table.isna().to_numpy().any():
        raise InvalidInputError(
            "z-scores need the final checkpoint's score of every task at every layer, not all "
            f"equal; that fails for {', '.join(unusable or table.columns[table.isna().any()])}."
        )
    weights = _shares(tasks, part_of) / spread
    constant = -float(weights @ table.mean().to_numpy())
    return Objective("z-score against the final checkpoint", tuple(tasks), weights, constant)


def _shares(tasks: Sequence[str], part_of: Sequence[str]) -> Floats:
    """(task,): what each counts in the mean."""
    items = [part or task for task, part in zip(tasks, part_of or [""] * len(tasks), strict=True)]
    count = Counter(items)
    return np.array([1 / count[item] / len(count) for item in items])


def final_checkpoint(checkpoints: Sequence[str]) -> str:
    """The last in training order."""
    return by_training_step(checkpoints)[-1]
