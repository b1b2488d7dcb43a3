"""Small grids of arms and scores for the tests of the search."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.search import Arms, Costs, Search, SearchSettings, make_arms, suite_mean

CHECKPOINTS = ("step1", "step16", "step256", "step4096", "main")


def arms_of(n_checkpoints: int = 4, n_layers: int = 5) -> Arms:
    return make_arms([f"step{4**i}" for i in range(n_checkpoints)], range(n_layers))


def scores_on(arms: Arms, n_tasks: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """(arm, task): a peak two thirds up that rises with training, and some of each task's own."""
    rng = np.random.default_rng(seed)
    depth, time = arms.positions.T
    shared = 0.3 + 0.2 * time * (1 - (depth - 0.67) ** 2)
    slopes, levels = rng.normal(0, 0.03, n_tasks), rng.uniform(-0.1, 0.1, n_tasks)
    own = slopes * depth[:, None] + levels
    return np.asarray(shared[:, None] + own + rng.normal(0, 0.003, (len(arms), n_tasks)))


def search_on(
    arms: Arms, n_tasks: int = 3, costs: Costs | None = None, settings: SearchSettings | None = None
) -> Search:
    tasks = [f"Task{i}" for i in range(n_tasks)]
    return Search(arms, suite_mean(tasks), costs or Costs(np.ones(n_tasks)), settings)


def table_of(arms: Arms, scores: NDArray[np.float64]) -> pd.DataFrame:
    rows = [
        (arms.checkpoint[arm], int(arms.layer[arm]), f"Task{task}", scores[arm, task])
        for arm in range(len(arms))
        for task in range(scores.shape[1])
    ]
    return pd.DataFrame(rows, columns=["checkpoint", "layer", "task", "score"])


def run(search: Search, scores: NDArray[np.float64], n: int) -> list[tuple[int, int]]:
    """Tell a search up to n scores that it asks for; what it asked, in order."""
    asked: list[tuple[int, int]] = []
    while len(asked) < n and (proposal := search.propose()) is not None:
        for task in proposal.tasks:
            search.tell(proposal.arm, task, float(scores[proposal.arm, task]))
            asked.append((proposal.arm, task))
    return asked
