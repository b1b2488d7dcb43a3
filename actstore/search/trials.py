"""The search against what it competes with, on finished tables: many seeds, halves of the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.search import baselines
from actstore.search.objective import suite_mean
from actstore.search.replay import Replay, Strategy, Table, replay, score_table, searching

TOLERANCE = 0.003
SHARE = 0.1
"""Of the arms: after so many the regret is told."""
_ARMS = 0.8
"""Of the arms: so far strategies are followed, but for successive halving, which has an end."""


def read_scores(path: Path) -> pd.DataFrame:
    """Columns checkpoint, layer, task, score, and seconds where the table has evaluation times.

    Reads .csv and .parquet with columns checkpoint or revision, layer, task, score or main_score.
    Raises InvalidInputError for another table.
    """
    table = _read(path).rename(
        columns={
            "revision": "checkpoint",
            "main_score": "score",
            "task_name": "task",
            "evaluation_time": "seconds",
        }
    )
    _require(path, table, ["checkpoint", "layer", "task", "score"])
    return table[[name for name in (*_SCORES, "seconds") if name in table]]


def read_metrics(path: Path) -> pd.DataFrame:
    """Columns checkpoint, layer, metric, value; a normalisation is made part of the name."""
    table = _read(path).rename(columns={"revision": "checkpoint"})
    _require(path, table, ["checkpoint", "layer", "metric", "value"])
    if "normalization" in table:
        table = table.assign(metric=table["metric"] + "/" + table["normalization"])
    return table[["checkpoint", "layer", "metric", "value"]]


def trials(
    scores: pd.DataFrame, metrics: pd.DataFrame | None, *, seeds: range, halves: bool
) -> list[tuple[Replay, Table]]:
    """Every strategy with every seed. halves: each seed has half of the tasks, at random; of two
    seeds in a row the second has the other half."""
    tasks = sorted(scores["task"].unique())
    found = []
    for seed in seeds:
        some = _half(tasks, seed) if halves else tasks
        table = score_table(scores, suite_mean(some), metrics)
        n_scores = int(_ARMS * table.scores.size)
        for name, strategy in strategies(table, metrics).items():
            short = name.startswith("search")
            most = table.scores.size if name == "successive halving" else n_scores
            most = int(SHARE * table.scores.size) if short else most
            found.append((replay(name, strategy, table, seed, most), table))
    return found


def strategies(table: Table, metrics: pd.DataFrame | None) -> Mapping[str, Strategy]:
    """By name; LinUCB where there are metrics, which are its contexts."""
    every = max(len(table.objective.tasks), 5)
    contexts = None if metrics is None else _contexts(table, metrics)
    bandit = {} if contexts is None else {"LinUCB as published": baselines.linucb(contexts)}
    return {
        "search": searching(race=False, confidence_every=every),
        "search, racing": searching(race=True, confidence_every=every),
        "random": baselines.random_order,
        "grid": baselines.grid,
        "successive halving": baselines.successive_halving,
        **bandit,
        "oracle": baselines.oracle,
    }


def summary(found: list[tuple[Replay, Table]]) -> pd.DataFrame:
    """A row a strategy, over all seeds; regrets in the objective's unit.

    Columns: mean regret after a tenth of the arms (`regret at 10 %`) and share of seeds that named
    the best by then (`hits`), median of arms looked at until the best is named (`arms to best`),
    mean share of all scores spent until the regret is 0.003 and stays so (`cost to .003`), and for
    what states a confidence: share of seeds that stopped, scores spent by then as a share of all,
    share of the stops that were right.
    """
    rows = pd.DataFrame([_line(one, table) for one, table in found])
    groups = rows.groupby("strategy", sort=False)
    table = groups[["regret at 10 %", "hits", "cost to .003", "stopped", "cost of stop"]].mean()
    table.insert(2, "arms to best", groups["arms to best"].median())
    table["stops right"] = groups["stops right"].mean()
    return table


_SCORES = ("checkpoint", "layer", "task", "score")


def stop(one: Replay, confidence: float = 0.95) -> tuple[float, float]:
    """Scores and regret where two looks in a row are that confident; NaN for never."""
    looks = one.looks.dropna(subset="confidence")
    sure = looks["confidence"] >= confidence
    both = looks[sure & sure.shift(1, fill_value=False)]
    if both.empty:
        return np.nan, np.nan
    return float(both["n_scores"].iloc[0]), float(both["regret"].iloc[0])


def _line(one: Replay, table: Table) -> dict[str, object]:
    n_arms, n_tasks = table.scores.shape
    tenth = int(SHARE * n_arms)
    after = one.regret_after(tenth * n_tasks)
    spent, regret = stop(one)
    return {
        "strategy": one.strategy,
        "regret at 10 %": after,
        "hits": float(after <= 0),
        "arms to best": one.scores_to(0.0, stays=False) / n_tasks,
        "cost to .003": one.scores_to(TOLERANCE) / table.scores.size,
        "stopped": float(np.isfinite(spent)) if one.states_confidence else np.nan,
        "cost of stop": spent / table.scores.size,
        "stops right": np.nan if np.isnan(regret) else float(regret <= TOLERANCE),
    }


def _half(tasks: list[str], seed: int) -> list[str]:
    order = np.random.default_rng(9000 + seed // 2).permutation(tasks)
    middle = (len(tasks) + 1) // 2
    return sorted(order[:middle] if seed % 2 == 0 else order[middle:])


def _contexts(table: Table, metrics: pd.DataFrame) -> NDArray[np.float64]:
    """(arm, metric), as they are: the published one scales nothing."""
    wide = metrics.pivot_table(index=["checkpoint", "layer"], columns="metric", values="value")
    pairs = pd.MultiIndex.from_arrays([table.arms.checkpoint, table.arms.layer])
    return np.asarray(wide.reindex(pairs).dropna(axis="columns").to_numpy(np.float64))


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InvalidInputError(f"There is no table {path}.")
    return pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path)


def _require(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    if missing := [name for name in columns if name not in table]:
        raise InvalidInputError(
            f"{path} has no column {' or '.join(missing)}; it has {', '.join(map(str, table))}. "
            f"Name the columns {', '.join(columns)}."
        )
