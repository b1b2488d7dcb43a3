"""Scores in a store, keyed by everything they depend on, and what all results share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from actstore.refs import training_step
from actstore.store.records.journal import Json

MTEB_RESULTS = "scores/mteb"
"""Root of an mteb ResultCache."""


@dataclass(frozen=True, kw_only=True)
class ScoreRecord:
    """The score of one (model, checkpoint, layer, pooling, transform, task, split, subset)."""

    model: str
    checkpoint: str
    layer: int
    pooling: str
    transform: str = ""
    """What was done to the states before scoring: `center+l2`; empty for states as stored."""
    task: str
    task_type: str
    split: str
    subset: str
    main_score: float
    scores: Mapping[str, float]
    """All scalar scores mteb gave: the leaves."""
    in_average: bool
    """Whether the suite's mapping counts this split and subset in the task's score."""
    evaluation_seconds: float
    mteb_version: str
    inputs_digest: str
    """Of all that the score depends on: task bundle, splits and subsets, states, versions."""
    environment: Mapping[str, Json] = field(default_factory=dict)
    """What else decides the last bits: threads, versions, platform. Stored once for all scores
    that have the same."""


@dataclass(frozen=True)
class EvaluationFailure:
    """Why a (model, checkpoint, layer, pooling, transform, task) has no score."""

    model: str
    checkpoint: str
    layer: int
    pooling: str
    transform: str
    task: str
    error: str
    """Kind and message."""
    traceback: str


def in_training_order(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """A table with a column `step`, sorted by model, step and the rest of its key."""
    names = table["checkpoint"].unique()
    table = table.assign(step=table["checkpoint"].map(dict(zip(names, steps(names), strict=True))))
    table["step"] = table["step"].astype(np.float64)
    return table.sort_values(["model", "step", *key[1:]], ignore_index=True)


def steps(checkpoints: Iterable[object]) -> list[float]:
    """Training steps as floats, NaN where the name states none (it sorts last)."""
    found = [training_step(str(name)) for name in checkpoints]
    return [np.nan if step is None else float(step) for step in found]
