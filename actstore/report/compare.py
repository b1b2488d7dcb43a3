"""Our scores beside those of a paper, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step, checkpoint_key, look_up, training_step
from actstore.report.comparison import Comparison
from actstore.report.published import Reading, read_published
from actstore.store import Store
from actstore.store.results.score_tables import CountedTask, counted_tasks, task_scores

__all__ = ["Comparison", "OurScores", "Reading", "compare"]

_CELL = ["checkpoint", "layer", "task"]
_HIGHEST = 1.0
"""Of mteb's main scores, which are shares and correlations."""
_SOME = 5


@dataclass(frozen=True)
class OurScores:
    """Which of a store's scores are compared. None: the only one there is."""

    suite: str | None = None
    """None: all scored tasks."""
    model: str | None = None
    pooling: str | None = None
    transform: str | None = None


def compare(
    store: Store,
    published: pd.DataFrame | Path,
    ours: OurScores | None = None,
    reading: Reading | None = None,
) -> Comparison:
    """Set published scores beside a store's.

    published: a table, a file or a folder of mteb results: see `read_published`. Where it has
    splits and subsets, a task's score is made of them as ours is.
    Raises UnknownNameError and InvalidInputError where a choice is needed, a table cannot be read,
    or nothing is common to both.
    """
    reading = reading or Reading()
    scores = store.scores()
    tasks = counted_tasks(store.storage, scores, (ours or OurScores()).suite)
    mine = _choose(store, task_scores(scores, tasks), ours or OurScores())
    chosen = mine.iloc[0]
    raw = read_published(published, [task.name for task in tasks])
    raw = _of_model(raw, reading)
    raw = _of_states(raw, {"pooling": chosen["pooling"], "transform": chosen["transform"]})
    theirs = _task_means(_placed(raw, mine, reading), tasks)
    theirs["score"] = _unit_range(theirs, mine, reading)
    cells = _beside(mine, theirs)
    return Comparison(chosen["model"], chosen["pooling"], chosen["transform"], cells)


def _choose(store: Store, scores: pd.DataFrame, ours: OurScores) -> pd.DataFrame:
    """Our scores of one model, pooling and transform."""
    if scores.empty:
        raise InvalidInputError(
            f"{store.url} has no scores of {ours.suite or 'any task'} to compare. Run first: "
            f"actstore eval {store.url} --suite {ours.suite or '…'}"
        )
    wanted = {"model": ours.model, "pooling": ours.pooling, "transform": ours.transform}
    for column, value in wanted.items():
        known = sorted(map(str, scores[column].unique()))
        if value is None and len(known) > 1:
            shown = ", ".join(name or "none" for name in known)
            raise InvalidInputError(
                f"{store.url} has scores of {len(known)} {column}s: {shown}. Say which one: "
                f"--{column} NAME"
            )
        listing = f"Give one of them: --{column}."
        name = known[0] if value is None else look_up(f"scored {column}", value, known, listing)
        scores = scores[scores[column] == name]
    return scores


def _of_model(raw: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The published scores of one model."""
    known = sorted(map(str, raw["model"].unique())) if "model" in raw else []
    if reading.model is not None:
        if not known:
            raise InvalidInputError("The published table names no model: leave --their-model out.")
        look_up("model in the published table", reading.model, known, "Give one: --their-model.")
        return raw[raw["model"] == reading.model]
    if len(known) > 1:
        raise InvalidInputError(
            f"The published table has scores of {len(known)} models: {_listed(known)}. Say which "
            "one: --their-model NAME"
        )
    return raw


def _of_states(raw: pd.DataFrame, states: dict[str, str]) -> pd.DataFrame:
    """The published scores of the same states as ours, where the table says of which they are."""
    for column, value in states.items():
        if column not in raw:
            continue
        known = sorted(map(str, raw[column].unique()))
        if value not in known:
            raise InvalidInputError(
                f"The published table has scores of the {column} {_listed(map(repr, known))}, ours "
                f"are of {value!r}. Choose ours: --{column} NAME"
            )
        raw = raw[raw[column] == value]
    return raw


def _placed(raw: pd.DataFrame, mine: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """Published scores with our names of checkpoints and our layers."""
    ours = by_training_step(map(str, mine["checkpoint"].unique()))
    if reading.checkpoint is not None:
        raw = raw.assign(checkpoint=reading.checkpoint)
    elif "checkpoint" not in raw:
        if len(ours) > 1:
            raise InvalidInputError(
                f"The published table has no column revision or checkpoint, and the store has "
                f"{_listed(ours)}. Say of which it is: --checkpoint NAME"
            )
        raw = raw.assign(checkpoint=ours[0])
    if reading.layer is not None:
        raw = raw.assign(layer=reading.layer)
    elif "layer" not in raw or raw["layer"].isna().any():
        raise InvalidInputError(
            f"The published table does not say of which layer its scores are. Its columns: "
            f"{', '.join(raw.columns)}. Add a column layer, or if all are of one: --layer N"
        )
    theirs = list(map(str, raw["checkpoint"].unique()))
    for name in reading.checkpoint_names:
        look_up("checkpoint in the published table", name, theirs, "See --rename-checkpoint.")
    keys = {checkpoint_key(name): name for name in ours}
    renamed = {name: reading.checkpoint_names.get(name, name) for name in theirs}
    found = {name: keys.get(checkpoint_key(new), new) for name, new in renamed.items()}
    layers = raw["layer"].astype(int) + reading.layer_offset
    return raw.assign(checkpoint=raw["checkpoint"].map(found), layer=layers)


def _task_means(raw: pd.DataFrame, tasks: list[CountedTask]) -> pd.DataFrame:
    """One published score a checkpoint, layer and task."""
    entries = ["split", "subset"] if {"split", "subset"} <= {*raw.columns} else []
    raw = raw.drop_duplicates([*_CELL, *entries, "score"])
    twice = raw[raw.duplicated([*_CELL, *entries], keep=False)]
    if len(twice):
        checkpoint, layer, task = twice.iloc[0][_CELL]
        values = ", ".join(f"{value:g}" for value in twice["score"].iloc[:2])
        raise InvalidInputError(
            f"The published table has several scores of {task} at {checkpoint}, layer {layer}: "
            f"{values}, … Keep one kind of rows in it, or add the column that tells them apart "
            "(model, pooling, split and subset)."
        )
    if not entries:
        return raw[[*_CELL, "score"]]
    counted = {(task.name, *entry) for task in tasks for entry in task.averaged}
    of_ours = {task.name: len(task.averaged) for task in tasks}
    places = raw[["task", "split", "subset"]].itertuples(index=False, name=None)
    kept = raw[[place in counted for place in places]]
    means = kept.groupby(_CELL)["score"].agg(["mean", "count"]).reset_index()
    whole = means["count"] == means["task"].map(of_ours)
    return means[whole].rename(columns={"mean": "score"})[[*_CELL, "score"]]


def _unit_range(theirs: pd.DataFrame, mine: pd.DataFrame, reading: Reading) -> pd.Series[float]:
    """Published scores in mteb's own range."""
    common = theirs.loc[theirs["task"].isin(mine["task"]), "score"].abs()
    highest = float(common.max()) if len(common) else 0.0
    if reading.percent and 0 < highest <= _HIGHEST:
        raise InvalidInputError(
            f"The published scores go to {highest:g}: they are no percentages. Leave out --percent."
        )
    if not reading.percent and highest > _HIGHEST:
        raise InvalidInputError(
            f"The published scores go to {highest:g}, mteb's main scores to 1. If they are "
            "percentages: --percent"
        )
    return theirs["score"] / 100 if reading.percent else theirs["score"]


def _beside(mine: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    both = mine[["checkpoint", "layer"]].merge(theirs[["checkpoint", "layer"]]).drop_duplicates()
    cells = mine[[*_CELL, "score"]].rename(columns={"score": "ours"})
    cells = cells.merge(theirs.rename(columns={"score": "theirs"}), on=_CELL, how="outer")
    cells = cells.merge(both, on=["checkpoint", "layer"])
    if cells.dropna(subset=["ours", "theirs"]).empty:
        raise InvalidInputError(
            f"Nothing is common to both. Ours: {_outline(mine)}. Theirs: {_outline(theirs)}. See "
            "--rename-checkpoint THEIRS=OURS, --checkpoint and --layer-offset."
        )
    types = dict(zip(mine["task"], mine["task_type"], strict=True))
    order = {name: i for i, name in enumerate(by_training_step(set(cells["checkpoint"])))}
    cells["step"] = [np.nan if (s := training_step(c)) is None else s for c in cells["checkpoint"]]
    cells["task_type"] = cells["task"].map(types).fillna("")
    cells["difference"] = cells["ours"] - cells["theirs"]
    cells = cells.sort_values(_CELL, key=lambda c: c.map(order) if c.name == "checkpoint" else c)
    names = ["checkpoint", "step", "layer", "task", "task_type", "ours", "theirs", "difference"]
    return cells[names].reset_index(drop=True)


def _outline(scores: pd.DataFrame) -> str:
    """Which checkpoints, layers and tasks some scores are of."""
    if scores.empty:
        return "no scores"
    checkpoints = by_training_step(map(str, scores["checkpoint"].unique()))
    tasks = sorted(map(str, scores["task"].unique()))
    layers = f"layers {scores['layer'].min()} to {scores['layer'].max()}"
    return f"checkpoints {_listed(checkpoints)}; {layers}; tasks {_listed(tasks)}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SOME]) + (f", … ({len(names)})" if len(names) > _SOME else "")
