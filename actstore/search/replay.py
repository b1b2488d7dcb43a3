"""Replaying a search, and what it competes with, on a score table that is complete.

A strategy sees scores only as it asks for them; its regret after each is how much the arm it would
name then falls short of the best of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.search.arms import Arms, make_arms
from actstore.search.objective import Objective
from actstore.search.searching import Costs, Search, SearchSettings

Floats = NDArray[np.float64]
Strategy = Callable[["Table", int], Iterator["Look"]]
"""Asks a table for scores, one arm or task after the other, with a seed."""


@dataclass(frozen=True)
class Table:
    """All scores of all arms."""

    arms: Arms
    objective: Objective
    scores: Floats
    """(arm, task)."""
    costs: Costs

    @property
    def values(self) -> Floats:
        """(arm,): the objective."""
        return self.objective.of(self.scores)


@dataclass(frozen=True)
class Look:
    """Where a strategy stands after a score, or all of an arm's."""

    n_scores: int
    """(checkpoint, layer, task) units spent."""
    n_arms: int
    """Arms that something was scored of."""
    best: int
    """The arm it would name."""
    confidence: float = float("nan")
    """Of there being none better but for the tolerance, where it states one."""


@dataclass(frozen=True)
class Replay:
    """One strategy on one table with one seed."""

    strategy: str
    seed: int
    looks: pd.DataFrame
    """n_scores, n_arms, best, regret, confidence, a line a look."""

    @property
    def states_confidence(self) -> bool:
        return bool(self.looks["confidence"].notna().any())

    def regret_after(self, n_scores: int) -> float:
        """Simple regret once so many scores were spent."""
        upto = self.looks[self.looks["n_scores"] <= n_scores]
        if upto.empty:
            upto = self.looks.iloc[:1]
        return float(upto["regret"].iloc[-1])

    def scores_to(self, regret: float, *, stays: bool = True) -> float:
        """Scores spent until the regret is that small for the first time; inf for never.

        stays: until it stays so.
        """
        small = (self.looks["regret"] <= regret).to_numpy()
        if stays:
            small = np.logical_and.accumulate(small[::-1])[::-1]
        spent = self.looks["n_scores"].to_numpy()[small]
        return float(spent[0]) if len(spent) else float("inf")


def score_table(
    scores: pd.DataFrame, objective: Objective, metrics: pd.DataFrame | None = None
) -> Table:
    """The table of some scores: columns checkpoint, layer, task, score.

    metrics: as `make_arms` takes them. Raises InvalidInputError for a table with gaps.
    """
    arms = make_arms(
        sorted(scores["checkpoint"].unique()), sorted(scores["layer"].unique()), metrics
    )
    wide = scores.pivot_table(index=["checkpoint", "layer"], columns="task", values="score")
    pairs = pd.MultiIndex.from_arrays([arms.checkpoint, arms.layer])
    values = wide.reindex(index=pairs, columns=list(objective.tasks)).to_numpy(np.float64)
    missing = int(np.isnan(values).sum())
    if missing:
        raise InvalidInputError(
            f"A replay needs every task at every checkpoint and layer; {missing} of "
            f"{values.size} scores are missing. Leave out tasks or checkpoints that have gaps."
        )
    return Table(arms, objective, values, Costs(np.ones(len(objective.tasks))))


def replay(name: str, strategy: Strategy, table: Table, seed: int, n_scores: int) -> Replay:
    """Run a strategy until it has spent that many scores, or all."""
    values, lines = table.values, []
    for look in strategy(table, seed):
        regret = float(values.max() - values[look.best])
        lines.append((look.n_scores, look.n_arms, look.best, regret, look.confidence))
        if look.n_scores >= n_scores:
            break
    columns = ["n_scores", "n_arms", "best", "regret", "confidence"]
    return Replay(name, seed, pd.DataFrame(lines, columns=columns))


def replays(
    strategies: Mapping[str, Strategy], table: Table, seeds: range, n_scores: int
) -> list[Replay]:
    """Every strategy with every seed."""
    return [
        replay(name, strategy, table, seed, n_scores)
        for name, strategy in strategies.items()
        for seed in seeds
    ]


def searching(*, race: bool, confidence_every: int = 0) -> Strategy:
    """The search of this package. confidence_every: scores between two statements of confidence."""

    def run(table: Table, seed: int) -> Iterator[Look]:
        settings = SearchSettings(race=race, seed=seed)
        search = Search(table.arms, table.objective, table.costs, settings)
        n_scores = 0
        while (proposal := search.propose()) is not None:
            for task in proposal.tasks:
                search.tell(proposal.arm, task, float(table.scores[proposal.arm, task]))
            n_scores += len(proposal.tasks)
            yield _look(search, n_scores, confidence_every)

    return run


def _look(search: Search, n_scores: int, confidence_every: int) -> Look:
    touched = np.isfinite(search.scores).any(axis=1)
    if search.learns:
        best = search.best()
    else:  # of the first arms only, which are scored on every task
        values = search.objective.of(search.scores)
        best = int(np.nanargmax(values))
    asked = confidence_every and search.learns and n_scores % confidence_every == 0
    confidence = search.standing().confidence if asked else float("nan")
    return Look(n_scores, int(touched.sum()), best, confidence)
