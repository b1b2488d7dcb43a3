"""Arms side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from actstore.report.tables import Gaps, arm_summary, best_layers, layer_profile
from actstore.store.results.score_tables import CountedTask
from actstore.store.results.score_tables import best_layers as best_layers_of_store
from tests.report.tables.made_scores import TYPES, cell, made_scores, random_scores

ALL = {"over": "all", "target": "all tasks"}


def test_a_summary_is_over_the_tasks_of_an_arm() -> None:
    values = random_scores()
    found = cell(arm_summary(made_scores(values)), checkpoint="step10", layer=3, **ALL)
    tasks = values[1, 3]
    assert found["mean"] == pytest.approx(tasks.mean())
    assert found["median"] == pytest.approx(np.median(tasks))
    assert found["sd"] == pytest.approx(tasks.std(ddof=1))
    assert (found["min"], found["max"]) == (tasks.min(), tasks.max())


def test_a_summary_is_never_over_fewer_tasks_than_its_neighbours() -> None:
    values = random_scores()
    values[1, 3, 0] = np.nan
    table = arm_summary(made_scores(values))
    found = cell(table, checkpoint="step10", layer=3, **ALL)
    assert found[["mean", "median", "sd", "min", "max"]].isna().all()
    assert (found["n_scored"], found["n_tasks"]) == (2, 3)
    assert table["mean"].isna().sum() == 2  # and its type
    sliced = arm_summary(made_scores(values), Gaps.SLICE)
    assert sliced["mean"].notna().all()
    assert not ((sliced["checkpoint"] == "step10") & (sliced["layer"] == 3)).any()


def test_a_profile_ranks_the_layers_of_a_checkpoint() -> None:
    values = np.zeros((1, 5, 3))
    values[0, :, :] = np.array([0.1, 0.4, 0.4, 0.2, 0.3])[:, None]
    values[0, 1, 0], values[0, 2, 0] = 0.5, 0.5
    table = layer_profile(made_scores(values))
    whole = table[table["over"] == "all"]
    assert whole["rank"].tolist() == [5, 1.5, 1.5, 4, 3]
    assert whole["depth"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert whole["below_best"].tolist() == pytest.approx([1 / 3, 0, 0, 7 / 30, 4 / 30])
    assert whole["mean_rank"].tolist() == [5, 1.5, 1.5, 4, 3]


def test_layers_without_a_score_have_no_rank_and_are_not_counted() -> None:
    values = random_scores()
    values[0, 2, 1] = np.nan
    table = layer_profile(made_scores(values))
    part = table[(table["over"] == "all") & (table["checkpoint"] == "step0")]
    assert np.isnan(part["rank"].iloc[2])
    assert part["n_ranked"].tolist() == [4] * 5
    assert sorted(part["rank"].dropna()) == [1, 2, 3, 4]
    assert part["mean_rank"].isna().tolist() == [False, False, True, False, False]


def test_the_best_layer_is_that_of_the_store_and_has_an_interval_over_tasks() -> None:
    values = random_scores(3)
    scores = made_scores(values)
    table = best_layers(scores)
    raw = scores.rename(columns={"score": "main_score"}).assign(split="t", subset="d")
    tasks = [CountedTask(task, kind, (("t", "d"),)) for task, kind in TYPES.items()]
    theirs = best_layers_of_store(raw, tasks).set_index("checkpoint")
    ours = table[table["over"] == "all"].set_index("checkpoint")
    names = ["best_layer", "next_layer", "margin", "gain"]
    renamed = theirs[names].astype(float)
    pd.testing.assert_frame_equal(ours[names].astype(float), renamed, check_names=False)
    first = ours.iloc[0]
    paired = values[0, first["best_layer"]] - values[0, first["next_layer"]]
    interval = stats.ttest_1samp(paired, 0).confidence_interval()
    assert (first["margin_low"], first["margin_high"]) == pytest.approx(tuple(interval))
    assert first["tasks_won"] == pytest.approx((paired > 0).mean())


def test_of_equal_layers_the_lowest_is_best_with_no_margin() -> None:
    values = np.full((1, 3, 3), 0.5)
    found = cell(best_layers(made_scores(values)), **ALL)
    assert (found["best_layer"], found["next_layer"], found["margin"]) == (0, 1, 0)
    assert found["tasks_won"] == 0.5


def test_layers_that_lack_a_task_are_not_compared() -> None:
    values = random_scores()
    values[0, :, 0] = np.nan
    values[1, 0:4, 0] = np.nan
    table = best_layers(made_scores(values))
    none = cell(table, checkpoint="step0", **ALL)
    assert (none["best_layer"] is pd.NA, none["n_compared"], none["n_layers"]) == (True, 0, 5)
    one = cell(table, checkpoint="step10", **ALL)
    assert (one["best_layer"], one["next_layer"] is pd.NA, one["n_compared"]) == (4, True, 1)
    by_task = cell(table, checkpoint="step0", over="task", target="Groups")
    assert by_task["best_layer"] == values[0, :, 1].argmax()
