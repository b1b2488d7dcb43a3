"""The scores of a suite in a store as a search is told them: in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from actstore.store.records.journal import read_fields
from actstore.store.results.score_tables import CountedTask, task_scores

if TYPE_CHECKING:
    from actstore.evaluate import Suite
    from actstore.store import Store

_JOURNAL = "scores/journal"
_PLACE = ["checkpoint", "layer", "task"]
_UNIT = {"model": pa.string(), "pooling": pa.string(), "transform": pa.string()}
_FIELDS = pa.schema(
    {
        "at": pa.float64(),
        **_UNIT,
        "checkpoint": pa.string(),
        "layer": pa.int64(),
        "task": pa.string(),
    }
)


def told_scores(store: Store, model: str, pooling: str, suite: Suite) -> pd.DataFrame:
    """Columns checkpoint, layer, task, score, seconds; a row for each task that is scored whole.

    Scores are of states as stored, of one pooling. Seconds are what the evaluation took.
    """
    scores = store.scores()
    scores = scores[_of(scores, model, pooling)]
    tasks = [CountedTask(one.name, "", one.averaged, one.part_of) for one in suite.tasks]
    table = task_scores(scores, tasks).dropna(subset="score")
    seconds = scores.groupby(_PLACE)["evaluation_seconds"].sum().rename("seconds").reset_index()
    came = read_fields(store.storage, _JOURNAL, _FIELDS).to_pandas()
    came = came[_of(came, model, pooling)].groupby(_PLACE)["at"].min().reset_index()
    table = table.merge(seconds, on=_PLACE).merge(came, on=_PLACE)
    return table.sort_values(["at", *_PLACE])[[*_PLACE, "score", "seconds"]]


def task_costs(told: pd.DataFrame, tasks: Sequence[str]) -> NDArray[np.float64]:
    """(task,): the mean seconds that a task took; of one never scored, the mean of the others."""
    known = told.groupby("task")["seconds"].mean().reindex(list(tasks)).to_numpy(np.float64)
    known = np.where(known > 0, known, np.nan)
    if np.isnan(known).all():
        return np.ones(len(tasks))
    costs: NDArray[np.float64] = np.where(np.isnan(known), np.nanmean(known), known)
    return costs


def _of(table: pd.DataFrame, model: str, pooling: str) -> pd.Series[bool]:
    as_stored = table["transform"].fillna("") == ""
    return (table["model"] == model) & (table["pooling"] == pooling) & as_stored
