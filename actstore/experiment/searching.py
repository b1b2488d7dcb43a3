"""A search that acts on a store: it scores what it proposes, and extracts what that needs.

Its state is the scores in the store, in the order in which they came, and nothing else: a search
that was killed and is run again goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from actstore.errors import InvalidInputError, PartlyDoneError
from actstore.experiment.search_scope import Scope, scope_of
from actstore.experiment.told_scores import task_costs, told_scores
from actstore.search import Arms, Costs, Objective, Proposal, Search, SearchSettings, make_arms
from actstore.search.objective import final_checkpoint, one_task, suite_mean, z_score

if TYPE_CHECKING:
    from actstore.store import Store

MEAN, Z_SCORE = "mean", "zscore"
_TOLERANCES = {Z_SCORE: 0.05}
_TOLERANCE = 0.003


@dataclass(frozen=True)
class SearchRequest:
    """What is searched, and how."""

    model: str
    """A hub name or a folder."""
    suite: str
    checkpoints: tuple[str, ...] = ()
    """Those to choose from; empty: all that the store has."""
    layers: str = "all"
    pooling: str = "mean_normed"
    objective: str = MEAN
    """`mean` of the suite, `zscore` against the final checkpoint, or a task's name."""
    budget: int | None = None
    """Stop once there are so many scores, those from before included; None: no limit."""
    batch: int = 1
    """Proposals made at a time."""
    confidence: float = 0.95
    tolerance: float | None = None
    """None: 0.003 of a score, 0.05 of a z-score."""
    extraction_cost: float = 3.0
    """Of a checkpoint, in evaluations of one layer on the whole suite."""
    race: bool = True
    seed: int = 0
    workers: int = 1
    """Processes that score."""
    devices: str = "auto"
    """On which checkpoints are extracted."""

    @property
    def settings(self) -> SearchSettings:
        given = self.tolerance
        tolerance = _TOLERANCES.get(self.objective, _TOLERANCE) if given is None else given
        return SearchSettings(
            race=self.race, tolerance=tolerance, confidence=self.confidence, seed=self.seed
        )


@dataclass(frozen=True)
class Place:
    """What is scored next: some tasks at a layer of a checkpoint."""

    checkpoint: str
    layer: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class SearchState:
    """Where a search stands."""

    checkpoint: str | None
    """The best found so far; None before the first arms are scored."""
    layer: int | None
    expected: float
    """Its objective."""
    sd: float
    """How surely; 0 where all its tasks are scored."""
    confidence: float
    """That no other is better by more than the tolerance; NaN before anything was learnt."""
    n_scores: int
    n_all: int
    """Scores of the whole grid."""
    checkpoints_extracted: int
    next: tuple[Place, ...]
    ended: str
    """Why it ended: confident, budget, everything scored; empty while it goes on."""
    failures: int = 0
    """Scores that could not be had."""


def run_search(
    store: Store, request: SearchRequest, say: Callable[[SearchState], None] = lambda state: None
) -> SearchState:
    """Search until it is confident, the budget is spent, or everything is scored.

    say: is told where it stands before each round. Raises what `extract` and `evaluate` raise, and
    PartlyDoneError where every score failed.
    """
    scope = scope_of(store, request.model, request.suite, request.checkpoints, request.layers)
    running = _Running(store, request, scope)
    while not (state := running.state()).ended:
        say(state)
        running.score(state.next)
    if state.failures and not state.n_scores:
        raise PartlyDoneError(
            f"None of {state.failures:,} scores could be had: actstore status {store.url} shows "
            "why. Mend this and run the same again."
        )
    return state


def propose(store: Store, request: SearchRequest) -> SearchState:
    """Where a search stands and what it would score next; nothing is done."""
    scope = scope_of(store, request.model, request.suite, request.checkpoints, request.layers)
    return _Running(store, request, scope).state()


class _Running:
    """One search in one process."""

    def __init__(self, store: Store, request: SearchRequest, scope: Scope) -> None:
        self.store, self.request, self.scope = store, request, scope
        self._arms = make_arms(scope.checkpoints, scope.layers, _metrics(store, scope))
        self._failed: set[tuple[str, int, str]] = set()
        self._search: Search | None = None

    def state(self) -> SearchState:
        """As the store is now."""
        told = told_scores(self.store, self.scope.model, self.request.pooling, self.scope.suite)
        told = told[told["checkpoint"].isin(self.scope.checkpoints)]
        told = told[told["layer"].isin(self.scope.layers)]
        if self._search is None and (first := self._final_layers(told)):
            return self._before(told, first)
        search = self._search = self._search or self._begin(told)
        self._tell(search, told)
        return self._of(search)

    def score(self, places: Sequence[Place]) -> None:
        """Extract and evaluate some places; what fails is not asked for again by this search."""
        from actstore.evaluate import EvaluationRequest, evaluate

        wanted = {(one.checkpoint, one.layer, task) for one in places for task in one.tasks}
        self.scope.extract({one.checkpoint for one in places}, self.request)
        tasks = {task for *_, task in wanted}
        suite = self.scope.suite
        evaluate(
            self.store,
            EvaluationRequest(
                model=self.scope.model,
                suite=replace(suite, tasks=tuple(t for t in suite.tasks if t.name in tasks)),
                checkpoints=tuple(sorted({one.checkpoint for one in places})),
                layers=",".join(map(str, sorted({one.layer for one in places}))),
                poolings=(self.request.pooling,),
                workers=self.request.workers,
                only=frozenset(wanted),
            ),
        )
        told = told_scores(self.store, self.scope.model, self.request.pooling, suite)
        places_told = told[["checkpoint", "layer", "task"]].itertuples(index=False, name=None)
        self._failed |= wanted - set(places_told)

    def _begin(self, told: pd.DataFrame) -> Search:
        objective = _objective(self.request, self.scope, told)
        extracted = frozenset(self.scope.extracted(self.request.pooling))
        costs = Costs(np.ones(len(objective.tasks)))
        return Search(self._arms, objective, costs, self.request.settings, extracted)

    def _tell(self, search: Search, told: pd.DataFrame) -> None:
        """What the search does not know yet, in the order in which it came."""
        tasks = {task: place for place, task in enumerate(search.objective.tasks)}
        arms = self._arms.places()
        for checkpoint, layer, task, score in told[_COLUMNS].itertuples(index=False, name=None):
            if task in tasks:
                search.tell(arms[checkpoint, layer], tasks[task], score)
        for checkpoint, layer, task in sorted(self._failed):
            search.tell(arms[checkpoint, layer], tasks[task], np.nan)
        seconds = task_costs(told, search.objective.tasks)
        extraction = self.request.extraction_cost * float(seconds.sum())
        search.costs = Costs(seconds, extraction)

    def _of(self, search: Search) -> SearchState:
        ended = self._ended(search)
        proposals = [] if ended else search.propose_several(self.request.batch)
        standing = search.standing() if search.learns else None
        best = None if standing is None else standing.best
        return SearchState(
            checkpoint=None if best is None else self._arms.checkpoint[best],
            layer=None if best is None else int(self._arms.layer[best]),
            expected=np.nan if standing is None else standing.expected,
            sd=np.nan if standing is None else standing.sd,
            confidence=np.nan if standing is None else standing.confidence,
            n_scores=search.n_scores,
            n_all=search.scores.size,
            checkpoints_extracted=len(search.extracted),
            next=self._within_budget(_places(proposals, self._arms, search), search.n_scores),
            ended=ended,
            failures=len(self._failed),
        )

    def _ended(self, search: Search) -> str:
        if search.complete:
            return "everything scored"
        if search.done:
            return "confident"
        spent = self.request.budget is not None and search.n_scores >= self.request.budget
        return "budget" if spent else ""

    def _final_layers(self, told: pd.DataFrame) -> list[Place]:
        """Z-scores are against all layers of the final checkpoint, so these are scored first."""
        if self.request.objective != Z_SCORE:
            return []
        final = final_checkpoint(self.scope.checkpoints)
        known = set(told.loc[told["checkpoint"] == final, ["layer", "task"]].itertuples(
            index=False, name=None
        ))  # fmt: skip
        known |= {(layer, task) for name, layer, task in self._failed if name == final}
        left = [
            Place(final, layer, tuple(t for t in self.scope.tasks if (layer, t) not in known))
            for layer in self.scope.layers
        ]
        return [place for place in left if place.tasks]

    def _before(self, told: pd.DataFrame, first: list[Place]) -> SearchState:
        """Before there is an objective."""
        places = self._within_budget(tuple(first), len(told))
        n_all = len(self._arms) * len(self.scope.tasks)
        extracted = len(self.scope.extracted(self.request.pooling))
        nothing = (None, None, np.nan, np.nan, np.nan)
        if not places:
            raise InvalidInputError(
                f"Z-scores need {sum(len(one.tasks) for one in first):,} more scores of the final "
                f"checkpoint, {first[0].checkpoint}; the budget of {self.request.budget:,} is "
                "spent. Raise --budget, or take --objective mean."
            )
        return SearchState(*nothing, len(told), n_all, extracted, places, "", len(self._failed))

    def _within_budget(self, places: tuple[Place, ...], spent: int) -> tuple[Place, ...]:
        if self.request.budget is None:
            return places
        left, kept = self.request.budget - spent, []
        for place in places:
            if left > 0:
                kept.append(replace(place, tasks=place.tasks[:left]))
            left -= len(place.tasks)
        return tuple(kept)


_COLUMNS = ["checkpoint", "layer", "task", "score"]


def _objective(request: SearchRequest, scope: Scope, told: pd.DataFrame) -> Objective:
    if request.objective == MEAN:
        return suite_mean(scope.tasks, scope.part_of)
    if request.objective == Z_SCORE:
        final = told[told["checkpoint"] == final_checkpoint(scope.checkpoints)]
        table = final.pivot_table(index="layer", columns="task", values="score")
        return z_score(scope.tasks, table, scope.part_of)
    return one_task(request.objective, scope.tasks)


def _places(proposals: Sequence[Proposal], arms: Arms, search: Search) -> tuple[Place, ...]:
    tasks = search.objective.tasks
    return tuple(
        Place(
            arms.checkpoint[one.arm], int(arms.layer[one.arm]), tuple(tasks[t] for t in one.tasks)
        )
        for one in proposals
    )


def _metrics(store: Store, scope: Scope) -> pd.DataFrame:
    """Metrics of the model's arms, each named with what it was computed from."""
    table = store.metric_table()
    table = table[table["model"] == scope.model]
    named = table.assign(metric=table["metric"] + " of " + table["source"])
    return named[["checkpoint", "layer", "metric", "value"]]
