"""Every table of a store's scores and metrics, by name: what `actstore tables` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from actstore.errors import ActstoreError, InvalidInputError, UnknownNameError
from actstore.refs import look_up
from actstore.report import tables
from actstore.report.analysis_query import AnalysisQuery
from actstore.report.correlation import correlate
from actstore.report.tables import whole_grid
from actstore.report.tables.state_scores import ARM
from actstore.store import Store
from actstore.store.results.score_tables import CountedTask, counted_tasks, task_scores


@dataclass(frozen=True)
class Material:
    """What all tables are made of."""

    scores: pd.DataFrame
    """A score, or NaN, for everything that should be scored, as `whole_grid` returns them."""
    metrics: pd.DataFrame
    """Rows of `Store.metric_table()`."""
    arms: pd.DataFrame
    """model, checkpoint and layer of all that was extracted or scored."""
    leaves: Callable[[], Iterable[pd.DataFrame]]
    """Reads all scores that mteb gave, task by task."""


@dataclass(frozen=True)
class TableKind:
    """One table."""

    about: str
    make: Callable[[Material, AnalysisQuery], pd.DataFrame]
    of_metrics: bool = False
    of_scores: bool = True


TABLES = {
    "coverage-by-task": TableKind(
        "layers scored, by checkpoint and task", lambda m, q: tables.coverage_by_task(m.scores)
    ),
    "coverage-by-layer": TableKind(
        "tasks scored and missing, by checkpoint and layer",
        lambda m, q: tables.coverage_by_layer(m.scores),
    ),
    "slices": TableKind(
        "the largest sets without gaps", lambda m, q: tables.comparable_slices(m.scores)
    ),
    "arms": TableKind(
        "mean, median, spread over tasks, by checkpoint and layer",
        lambda m, q: tables.arm_summary(m.scores, q.gaps),
    ),
    "layer-profile": TableKind(
        "scores and ranks of layers", lambda m, q: tables.layer_profile(m.scores, q.gaps)
    ),
    "best-layers": TableKind(
        "the best layer of each checkpoint, and its margin",
        lambda m, q: tables.best_layers(m.scores, q.gaps),
    ),
    "trend": TableKind(
        "scores from checkpoint to checkpoint, by layer",
        lambda m, q: tables.checkpoint_trend(m.scores, q.gaps),
    ),
    "trend-wide": TableKind(
        "the same, a column a checkpoint",
        lambda m, q: tables.checkpoint_trend_wide(m.scores, q.gaps),
    ),
    "trend-slopes": TableKind(
        "change while training steps grow tenfold, by layer",
        lambda m, q: tables.trend_slopes(m.scores, q.gaps, q.steps_of),
    ),
    "sensitivity": TableKind(
        "how much layer and checkpoint matter to each task",
        lambda m, q: tables.task_sensitivity(m.scores, q.gaps),
    ),
    "win-rate": TableKind(
        "share of tasks above a baseline",
        lambda m, q: tables.win_rate(m.scores, q.baseline, q.gaps, correction=q.correction),
    ),
    "metrics": TableKind(
        "which metrics there are, and why others are NaN",
        lambda m, q: tables.metric_availability(m.metrics, m.arms),
        of_metrics=True,
        of_scores=False,
    ),
    "leaves": TableKind("all numbers mteb gave", lambda m, q: tables.sub_metrics(m.leaves())),
    "correlations": TableKind(
        "metrics with scores, held against chance",
        lambda m, q: correlate(m.metrics, m.scores, q.correlations),
        of_metrics=True,
    ),
}
"""By name, as `actstore tables` writes them."""


def analysis_table(store: Store, kind: str, query: AnalysisQuery | None = None) -> pd.DataFrame:
    """One of TABLES.

    Raises UnknownNameError, and InvalidInputError for a store without what it is made of.
    """
    if kind == "all":
        raise InvalidInputError("All tables are written to a folder. Say which: --out tables")
    look_up("table", kind, [*TABLES], "Or all of them: all")
    query = query or AnalysisQuery()
    return _made(store, TABLES[kind], read_material(store, query), query)


def analysis_tables(
    store: Store, query: AnalysisQuery | None = None
) -> Iterable[tuple[str, pd.DataFrame | ActstoreError]]:
    """All of TABLES by name, one after the other, or why there is none.

    Raises what `analysis_table` raises where there is neither a score nor a metric.
    """
    query = query or AnalysisQuery()
    material = read_material(store, query)
    for name, kind in TABLES.items():
        try:
            yield name, _made(store, kind, material, query)
        except InvalidInputError as error:
            yield name, error


def read_material(store: Store, query: AnalysisQuery) -> Material:
    """The scores and metrics of a query, with a NaN for all that is missing.

    Layers that were extracted and not scored are missing, as are tasks of the suite that were
    never scored. The parts of an aggregate are one task: their mean.
    Raises UnknownNameError, and InvalidInputError for a store with neither scores nor metrics.
    """
    scores, metrics = store.scores(), store.metric_table()
    tasks = counted_tasks(store.storage, scores, query.suite)
    scores, metrics = _of_model(store, scores, query), _of_model(store, metrics, query)
    scores = _of_poolings(store, scores, query)
    if scores.empty and metrics.empty:
        raise InvalidInputError(
            f"{store.url} has neither scores nor metrics of that. Run first: actstore eval "
            f"{store.url} --suite … or: actstore metrics {store.url}"
        )
    models = sorted({*scores["model"], *metrics["model"]})
    extracted = {model: _extracted(store, model) for model in models}
    types = {task.name: task.task_type for task in tasks}
    grid = _with_aggregates(whole_grid(task_scores(scores, tasks), types, extracted), tasks)
    arms = [(model, *place) for model in models for place in extracted[model]]
    known = pd.concat(
        [pd.DataFrame(arms, columns=["model", "checkpoint", "layer"]), grid[ARM]], join="inner"
    )
    names = [task.name for task in tasks if task.name in {*scores["task"]}]
    return Material(
        grid,
        metrics,
        known.drop_duplicates(),
        lambda: (_chosen(store.score_leaves(name), query) for name in names),
    )


def _made(store: Store, kind: TableKind, material: Material, query: AnalysisQuery) -> pd.DataFrame:
    if kind.of_scores and material.scores.empty:
        raise InvalidInputError(
            f"{store.url} has no scores of that. Run first: actstore eval {store.url} --suite "
            f"{query.suite or '…'}"
        )
    if kind.of_metrics and material.metrics.empty:
        raise InvalidInputError(
            f"{store.url} has no metrics of that. Run first: actstore metrics {store.url}"
        )
    return kind.make(material, query)


def _of_model(store: Store, table: pd.DataFrame, query: AnalysisQuery) -> pd.DataFrame:
    if query.model is None:
        return table
    known = sorted({*store.scores()["model"], *store.metric_table()["model"]})
    listing = f"List: actstore info {store.url}"
    look_up("model with scores or metrics", query.model, known, listing)
    return table[table["model"] == query.model]


def _of_poolings(store: Store, scores: pd.DataFrame, query: AnalysisQuery) -> pd.DataFrame:
    known = sorted({*scores["pooling"]})
    for name in query.poolings:
        look_up("pooling with scores", name, known, f"See: actstore scores {store.url}")
    return _chosen(scores, query)


def _chosen(table: pd.DataFrame, query: AnalysisQuery) -> pd.DataFrame:
    if query.model is not None:
        table = table[table["model"] == query.model]
    return table[table["pooling"].isin(query.poolings)] if query.poolings else table


def _extracted(store: Store, model: str) -> list[tuple[str, int]]:
    """Scores may be of a model that was never extracted into this store."""
    try:
        groups = store.checkpoint_groups(model, store.checkpoints(model))
    except UnknownNameError:
        return []
    return [(group.spec.checkpoint, layer) for group in groups for layer in group.spec.layers]


def _with_aggregates(scores: pd.DataFrame, tasks: Iterable[CountedTask]) -> pd.DataFrame:
    items = {task.name: task.part_of for task in tasks if task.part_of}
    parts = scores["task"].isin([*items])
    if not parts.any():
        return scores
    named = scores[parts].assign(task=scores.loc[parts, "task"].map(items))
    by_item = named.groupby([*ARM, "task"], sort=False)
    whole = by_item["score"].agg(lambda values: values.mean(skipna=False))
    types = by_item["task_type"].agg(lambda names: "/".join(dict.fromkeys(names)))
    aggregates = pd.concat([types, whole], axis=1).reset_index()
    return pd.concat([scores[~parts], aggregates], ignore_index=True)
