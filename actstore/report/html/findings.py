"""Everything the report draws: a number for every arm and quantity, or none.

An arm is a checkpoint and a layer of one model, read with one pooling and transform. A quantity is
what there may be a number of for every arm: a suite's mean, a task type's, a task, a metric, how
much of a suite is scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.refs import by_training_step, look_up
from actstore.store import Store
from actstore.store.results.score_tables import (
    CountedTask,
    counted_tasks,
    suite_scores,
    task_scores,
)

STATES = ["model", "pooling", "transform"]
ARM = [*STATES, "checkpoint", "layer"]
METRIC = "Metric"
"""The heading of metrics."""
_SCORE = "main score"


@dataclass(frozen=True)
class States:
    """What the layers of one model were read as, and the grid of its arms."""

    model: str
    pooling: str
    """Empty for a model without scores, as the transform is for states as stored."""
    transform: str
    checkpoints: tuple[str, ...]
    """In training order."""
    layers: tuple[int, ...]
    """Ascending."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.model, self.pooling, self.transform


@dataclass(frozen=True)
class Quantity:
    """One number for every arm."""

    name: str
    heading: str
    """Of which kind it is: what it stands below in a list."""
    unit: str
    about: str
    is_score: bool
    """Whether more is better."""


@dataclass(frozen=True)
class Suite:
    """A suite's scores, as far as they are there."""

    name: str | None
    """None: all scored tasks."""
    tasks: tuple[CountedTask, ...]
    scores: pd.DataFrame
    """What `task_scores` returns."""
    means: pd.DataFrame
    """What `suite_scores` returns."""

    @property
    def label(self) -> str:
        return self.name or "all scored tasks"


@dataclass(frozen=True)
class Findings:
    """A store's numbers, as the report takes them."""

    states: tuple[States, ...]
    quantities: tuple[Quantity, ...]
    numbers: pd.DataFrame
    """A row an arm, by the columns of ARM; a column a quantity, numbered; NaN where there is none.
    """
    suites: tuple[Suite, ...]
    metrics: pd.DataFrame
    """The rows of `Store.metric_table()` that were taken."""


def read_findings(store: Store, model: str | None, suites: Sequence[str]) -> Findings:
    """What a store says of one model, or of all.

    suites: whose means are taken; none named: those collected of which a task is scored, or all
    scored tasks where there is no such suite. Raises UnknownNameError, and InvalidInputError for a
    store with neither scores nor metrics.
    """
    scores, metrics = store.scores(), store.metric_table()
    models = _models(store, {*scores["model"], *metrics["model"]}, model)
    scores = scores[scores["model"].isin(models)]
    metrics = metrics[metrics["model"].isin(models)]
    found = tuple(_suite(store, scores, name) for name in _suites(store, scores, suites))
    states = tuple(_states(store, models, scores, metrics))
    columns = [*_of_suites(found), *_of_metrics(metrics)]
    numbers = _numbers(states, [values for _, values in columns])
    return Findings(states, tuple(quantity for quantity, _ in columns), numbers, found, metrics)


def _models(store: Store, known: set[str], model: str | None) -> list[str]:
    if not known:
        raise InvalidInputError(
            f"{store.url} has neither scores nor metrics to report. Run first: actstore eval "
            f"{store.url} --suite … or: actstore metrics {store.url}"
        )
    if model is None:
        return sorted(known)
    listing = f"List: actstore info {store.url}"
    return [look_up("model with scores or metrics", model, sorted(known), listing)]


def _suites(store: Store, scores: pd.DataFrame, asked: Sequence[str]) -> list[str | None]:
    if asked or scores.empty:
        return [*asked]
    scored = {*scores["task"]}
    names = [
        name
        for name in store.suites()
        if scored & {task["name"] for task in store.suite(name)["tasks"]}
    ]
    return [*names] or [None]


def _suite(store: Store, scores: pd.DataFrame, name: str | None) -> Suite:
    tasks = counted_tasks(store.storage, scores, name)
    return Suite(name, tuple(tasks), task_scores(scores, tasks), suite_scores(scores, tasks))


def _states(
    store: Store, models: Sequence[str], scores: pd.DataFrame, metrics: pd.DataFrame
) -> Iterator[States]:
    """Checkpoints and layers of a model are those that were scored, measured or extracted."""
    for model in models:
        scored = scores[scores["model"] == model]
        tables = [scored, metrics[metrics["model"] == model]]
        checkpoints = {str(name) for table in tables for name in table["checkpoint"]}
        layers = {int(layer) for table in tables for layer in table["layer"]}
        for group in _extracted(store, model):
            checkpoints.add(group[0])
            layers |= {*group[1]}
        order, ascending = tuple(by_training_step(checkpoints)), tuple(sorted(layers))
        kinds = scored[["pooling", "transform"]].drop_duplicates().sort_values(["pooling"])
        for pooling, transform in kinds.itertuples(index=False) if len(kinds) else [("", "")]:
            yield States(model, str(pooling), str(transform), order, ascending)


def _extracted(store: Store, model: str) -> list[tuple[str, tuple[int, ...]]]:
    """Each extracted checkpoint of a model and its layers; scores may be of one never extracted."""
    try:
        names = store.checkpoints(model)
    except UnknownNameError:
        return []
    groups = store.checkpoint_groups(model, names)
    return [(group.spec.checkpoint, group.spec.layers) for group in groups]


def _of_suites(suites: Sequence[Suite]) -> Iterator[tuple[Quantity, pd.Series]]:
    """Means first: they are what one looks for. A task stands once unless two suites differ."""
    for suite in suites:
        means = suite.means.set_index(ARM)
        n = int(means["n_tasks"].max()) if len(means) else len(suite.tasks)
        about = f"Unweighted mean of the {n} tasks of {suite.label}; none unless all are scored."
        heading = f"Suite: {suite.label}" if suite.name else "All scored tasks"
        if n > 1:
            yield Quantity(f"Mean over {n} tasks", heading, _SCORE, about, True), means["mean"]
        columns = [*map(str, means.columns)]
        for task_type in columns[columns.index("n_tasks") + 1 :]:
            about = f"Unweighted mean of the {task_type} tasks of {suite.label}; none unless all."
            yield Quantity(f"{task_type}: mean", heading, _SCORE, about, True), means[task_type]
        about = f"How many of the {n} tasks of {suite.label} are scored."
        yield Quantity("Tasks scored", heading, "tasks", about, False), means["n_scored"]
    yield from _of_tasks(suites)


def _of_tasks(suites: Sequence[Suite]) -> Iterator[tuple[Quantity, pd.Series]]:
    seen = set[CountedTask]()
    for suite in suites:
        for task in sorted(suite.tasks, key=lambda task: (task.task_type, task.name)):
            if task in seen:
                continue
            differs = any(task.name == other.name for other in seen)
            seen.add(task)
            name = f"{task.name} (as in {suite.label})" if differs else task.name
            about = f"{task.name} ({task.task_type}): {_entries(task)}."
            values = suite.scores[suite.scores["task"] == task.name].set_index(ARM)["score"]
            yield Quantity(name, f"Task: {task.task_type}", _SCORE, about, True), values


def _entries(task: CountedTask) -> str:
    splits = ", ".join(sorted({split for split, _ in task.averaged}))
    if len(task.averaged) == 1:
        return f"main score on {splits}"
    return f"mean main score of {len(task.averaged)} entries on {splits}"


def _of_metrics(metrics: pd.DataFrame) -> Iterator[tuple[Quantity, pd.Series]]:
    for (metric, source), part in metrics.groupby(["metric", "source"]):
        values = part.set_index(["model", "checkpoint", "layer"])["value"].astype(float)
        about = f"{metric} from {source}: {part['definition'].iloc[-1]}."
        unit = str(part["unit"].iloc[-1])
        yield Quantity(f"{metric} ({source})", METRIC, unit, about, False), values


def _numbers(states: Sequence[States], columns: Sequence[pd.Series]) -> pd.DataFrame:
    """All arms, and of each what there is. A model's metrics count for all its states."""
    arms = pd.DataFrame(
        [
            (*one.key, checkpoint, layer)
            for one in states
            for checkpoint in one.checkpoints
            for layer in one.layers
        ],
        columns=ARM,
    )
    found = {i: _aligned(arms, values) for i, values in enumerate(columns)}
    return pd.concat([arms, pd.DataFrame(found, index=arms.index)], axis=1)


def _aligned(arms: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """A column's numbers in the order of the arms, looked up by the levels that it has."""
    keys = pd.MultiIndex.from_frame(arms[[*values.index.names]])
    numbers = values.reindex(keys).to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)
