"""Scores of tasks and suites, from the scores of splits and subsets.

A task's score is the mean of the (split, subset) entries that its suite counts, a suite's the
unweighted mean of its tasks. Neither is ever a mean over what happens to be there: it is NaN while
an entry or a task is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from actstore.errors import CorruptShardError
from actstore.refs import by_training_step, look_up
from actstore.store import bundles
from actstore.store.records.documents import Fields, is_pair, list_of, wrong_field
from actstore.store.results.records import in_training_order, steps
from actstore.store.results.score_journal import UNIT
from actstore.store.storage import Storage

_COUNTED: Fields = {"averaged": list_of(is_pair)}
_DIMS = [*UNIT, "task"]
_PLACE = ["model", "checkpoint", "step", "layer", "pooling", "transform"]


@dataclass(frozen=True)
class CountedTask:
    """A task and how its score is made."""

    name: str
    task_type: str
    averaged: tuple[tuple[str, str], ...]
    """The (split, subset) entries whose mean is its score."""
    part_of: str = ""
    """The aggregate that it counts in, together with its other parts as one task."""

    @property
    def item(self) -> str:
        """What a suite's mean counts it as."""
        return self.part_of or self.name


def counted_tasks(storage: Storage, scores: pd.DataFrame, suite: str | None) -> list[CountedTask]:
    """The tasks of a suite and its mapping; without a suite all scored tasks.

    suite: a collected one, or scored tasks separated by commas. Without one, and for tasks by name,
    an entry counts if any score of the task was made under a suite that counts it.
    Raises UnknownNameError for a suite or task, also one of the suite that was never collected.
    """
    types = dict(zip(scores["task"], scores["task_type"], strict=True))
    if suite in bundles.suites(storage):
        definition = bundles.suite(storage, suite)
        return [_of_suite(storage, task, types) for task in definition["tasks"]]
    entries = scores.loc[scores["in_average"], ["task", "split", "subset"]].drop_duplicates()
    averaged = {
        str(task): tuple(part[["split", "subset"]].itertuples(index=False, name=None))
        for task, part in entries.groupby("task")
    }
    return [
        CountedTask(name, types[name], averaged[name]) for name in _named(storage, averaged, suite)
    ]


def task_scores(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> pd.DataFrame:
    """One score a (model, checkpoint, layer, pooling, transform, task), of what was scored at all.

    scores: rows of `Store.scores()`. Columns: model, checkpoint, step, layer, pooling, transform,
    task, task_type, score (NaN while one of the task's entries has none).
    """
    entries = [(task.name, *entry) for task in tasks for entry in task.averaged]
    names = ["task", "split", "subset"]
    counted = pd.DataFrame(entries, columns=names).astype(scores.dtypes[names].to_dict())
    groups = scores.merge(counted, on=names).groupby([*UNIT, "task"], sort=False)
    table = groups["main_score"].agg(["mean", "count"]).reset_index()
    n_entries = table["task"].map({task.name: len(task.averaged) for task in tasks})
    table["task_type"] = table["task"].map({task.name: task.task_type for task in tasks})
    table["score"] = table["mean"].where(table["count"] == n_entries)
    return in_training_order(table, [*UNIT, "task"])[[*_PLACE, "task", "task_type", "score"]]


def score_array(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> xr.DataArray:
    """Task scores as (model, checkpoint, layer, pooling, transform, task); NaN where there is none.

    Checkpoints in training order, with their `step`; tasks as in the suite, with `task_type` and
    `part_of`, the aggregate that a task belongs to or an empty string.
    """
    table = task_scores(scores, tasks)
    names = [task.name for task in tasks]
    if table.empty:
        coords = {**{name: table[name].to_numpy() for name in UNIT}, "task": names}
        nothing = np.empty((*(0 for _ in UNIT), len(names)))
        array = xr.DataArray(nothing, coords, _DIMS, name="scores")
    else:
        array = table.set_index(_DIMS)["score"].to_xarray().rename("scores")
        checkpoints = by_training_step(map(str, array["checkpoint"].values))
        array = array.reindex(checkpoint=checkpoints, task=names)
    return array.assign_coords(
        step=("checkpoint", steps(array["checkpoint"].values)),
        task_type=("task", [task.task_type for task in tasks]),
        part_of=("task", [task.part_of for task in tasks]),
    )


def suite_scores(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> pd.DataFrame:
    """Means over a suite's tasks, one row a (model, checkpoint, layer, pooling, transform).

    Columns, besides these and step: mean (unweighted, over all tasks; NaN unless all are scored),
    mean_of_scored (over those that are: rows do not compare), n_scored, n_tasks, and by its name
    each task type's mean (NaN unless all its tasks are scored). An aggregate counts as one task,
    whose score is the mean of its parts.
    """
    wide = _wide(scores, tasks)
    by_type = _by_type(tasks)
    table = _means(wide)
    for task_type, items in by_type.items():
        table[task_type] = wide[items].mean(axis=1, skipna=False)
    found = ["mean", "mean_of_scored", "n_scored", "n_tasks", *by_type]
    return in_training_order(table.reset_index(), UNIT)[[*_PLACE, *found]]


def type_scores(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> pd.DataFrame:
    """The means of `suite_scores` and their coverage of each task type: a row a unit and type."""
    wide = _wide(scores, tasks)
    by_type = _by_type(tasks)
    parts = [_means(wide[items]).assign(task_type=name) for name, items in by_type.items()]
    table = pd.concat(parts or [_means(wide).assign(task_type="")]).reset_index()
    found = ["task_type", "mean", "mean_of_scored", "n_scored", "n_tasks"]
    return in_training_order(table, [*UNIT, "task_type"])[[*_PLACE, *found]]


def best_layers(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> pd.DataFrame:
    """The layer with the highest suite mean, one row a (model, checkpoint, pooling, transform).

    Columns, besides these and step: best_layer (the lowest of equal ones), mean, next_layer (the
    best of the others), margin (by how much its mean is lower; both NaN for one layer alone),
    last_layer, gain (over the last layer), n_layers. Only layers with all tasks scored count;
    without any there is no row.
    """
    whole = suite_scores(scores, tasks).dropna(subset="mean")
    by = ["model", "checkpoint", "step", "pooling", "transform"]
    rows = [
        {**dict(zip(by, key, strict=True)), **_best(part)}
        for key, part in whole.groupby(by, sort=False, dropna=False)
    ]
    found = ["best_layer", "mean", "next_layer", "margin", "last_layer", "gain", "n_layers"]
    return pd.DataFrame(rows, columns=[*by, *found])


def _of_suite(storage: Storage, task: dict[str, Any], types: dict[Any, Any]) -> CountedTask:
    name = task["name"]
    if what := wrong_field(task, _COUNTED):
        raise CorruptShardError(
            f"A suite of {storage.url} says nothing of how {name} is counted: {what}. "
            f"Run: actstore verify {storage.url}"
        )
    averaged = tuple((split, subset) for split, subset in task["averaged"])
    return CountedTask(
        name, _type_of(storage, name, types), averaged, str(task.get("part_of") or "")
    )


def _type_of(storage: Storage, name: str, types: dict[Any, Any]) -> str:
    return str(types.get(name) or bundles.task(storage, name).manifest.get("type", ""))


def _named(storage: Storage, scored: Iterable[str], suite: str | None) -> list[str]:
    """The scored tasks that a comma-separated list names; all for None."""
    scored = sorted(scored)
    if suite is None:
        return scored
    known = [*bundles.suites(storage), *scored]
    listing = f"List: actstore info {storage.url}"
    names = dict.fromkeys(part.strip() for part in suite.split(","))
    return [
        look_up("collected suite or scored task in this store", name, known, listing)
        for name in names
    ]


def _wide(scores: pd.DataFrame, tasks: Sequence[CountedTask]) -> pd.DataFrame:
    """One row a unit, one column an item: a task, or an aggregate as the mean of its parts."""
    table = task_scores(scores, tasks)
    wide = table.pivot(index=UNIT, columns="task", values="score")
    wide = wide.reindex(columns=[task.name for task in tasks])
    parts: dict[str, list[str]] = {}
    for task in tasks:
        parts.setdefault(task.item, []).append(task.name)
    means = {item: wide[names].mean(axis=1, skipna=False) for item, names in parts.items()}
    return pd.DataFrame(means, index=wide.index)


def _by_type(tasks: Sequence[CountedTask]) -> dict[str, list[str]]:
    """The items of each task type; an aggregate has its parts' type."""
    found: dict[str, dict[str, None]] = {}
    for task in tasks:
        found.setdefault(task.item, {})[task.task_type] = None
    types = {item: "/".join(names) for item, names in found.items()}
    by_type: dict[str, list[str]] = {}
    for item, name in sorted(types.items(), key=lambda pair: pair[1]):
        by_type.setdefault(name, []).append(item)
    return by_type


def _means(wide: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mean": wide.mean(axis=1, skipna=False),
            "mean_of_scored": wide.mean(axis=1),
            "n_scored": wide.notna().sum(axis=1),
            "n_tasks": len(wide.columns),
        },
        index=wide.index,
    )


def _best(part: pd.DataFrame) -> dict[str, float]:
    """Of the layers of one checkpoint, ascending and each with a mean."""
    ranked = part.sort_values("mean", ascending=False, kind="stable")
    best, last = ranked.iloc[0], part.iloc[-1]
    other = ranked.iloc[1] if len(ranked) > 1 else {"layer": np.nan, "mean": np.nan}
    return {
        "best_layer": best["layer"],
        "mean": best["mean"],
        "next_layer": other["layer"],
        "margin": best["mean"] - other["mean"],
        "last_layer": last["layer"],
        "gain": best["mean"] - last["mean"],
        "n_layers": len(part),
    }
