"""Arms against a baseline."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from actstore.errors import UnknownNameError
from actstore.report.tables import Baseline, win_rate
from actstore.report.tables.wins import wilson
from tests.report.tables.made_scores import cell, made_scores, random_scores

ALL = {"over": "all", "target": "all tasks"}


def test_wins_ties_and_losses_are_counted_over_tasks() -> None:
    values = np.full((2, 2, 3), 0.5)
    values[0, 0] = [0.6, 0.5, 0.4]
    values[0, 1] = [0.6, 0.7, 0.5]
    table = win_rate(made_scores(values))
    assert set(table["baseline_checkpoint"]) == {"step10"}
    assert set(table["baseline_layer"]) == {1}
    found = cell(table, checkpoint="step0", layer=1, **ALL)
    assert (found["wins"], found["ties"], found["losses"]) == (2, 1, 0)
    assert found["win_rate"] == pytest.approx(2.5 / 3)
    assert found["difference"] == pytest.approx(0.1)
    assert found["p"] == stats.binomtest(2, 2).pvalue
    clustering = cell(table, checkpoint="step0", layer=0, over="type", target="Clustering")
    assert (clustering["n_tasks"], clustering["win_rate"], clustering["p"]) == (1, 0.5, 1)


def test_differences_up_to_the_tie_are_ties() -> None:
    values = np.full((1, 2, 3), 0.5)
    values[0, 0] = [0.51, 0.45, 0.6]
    found = cell(win_rate(made_scores(values), tie=0.02), layer=0, **ALL)
    assert (found["wins"], found["ties"], found["losses"]) == (1, 1, 1)


@pytest.mark.parametrize(("wins", "n"), [(0, 5), (3, 7), (16, 16), (20, 32)])
def test_the_interval_is_wilsons(wins: int, n: int) -> None:
    theirs = stats.binomtest(wins, n).proportion_ci(method="wilson")
    assert wilson(wins / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_arms_and_baselines_that_lack_a_task_have_no_win_rate() -> None:
    values = random_scores()
    values[0, 0, 0] = np.nan
    table = win_rate(made_scores(values))
    gone = cell(table, checkpoint="step0", layer=0, **ALL)
    assert np.isnan(gone["win_rate"])
    assert np.isnan(gone["p_adjusted"])
    assert table.loc[table["over"] == "all", "win_rate"].notna().sum() == 19
    against = win_rate(made_scores(values), Baseline("step0", 0))
    assert against.loc[against["over"] == "all", "win_rate"].isna().all()
    clustering = against[against["target"] == "Clustering"]
    assert clustering["win_rate"].notna().all()


def test_a_baseline_that_is_not_there_is_named() -> None:
    scores = made_scores(random_scores())
    with pytest.raises(UnknownNameError, match="no checkpoint.*'step11'.*'step1"):
        win_rate(scores, Baseline("step11"))
    with pytest.raises(UnknownNameError, match="no layer 9"):
        win_rate(scores, Baseline(layer=9))
