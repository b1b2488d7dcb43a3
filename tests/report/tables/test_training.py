"""Scores from checkpoint to checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from actstore.report.tables import checkpoint_trend, checkpoint_trend_wide, trend_slopes
from tests.report.tables.made_scores import CHECKPOINTS, cell, made_scores, random_scores

ALL = {"over": "all", "target": "all tasks"}


def test_a_trend_has_the_change_since_the_checkpoint_before_and_since_the_first() -> None:
    values = random_scores()
    table = checkpoint_trend(made_scores(values))
    part = table[(table["over"] == "all") & (table["layer"] == 2)]
    means = values[:, 2].mean(axis=1)
    assert part["checkpoint"].tolist() == CHECKPOINTS
    assert part["change"].tolist() == pytest.approx([np.nan, *np.diff(means)], nan_ok=True)
    assert part["since_first"].tolist() == pytest.approx(means - means[0])
    assert part["rank"].tolist() == (np.argsort(np.argsort(-means)) + 1).tolist()


def test_no_change_is_told_over_a_gap() -> None:
    values = random_scores()
    values[1, 2, 0] = np.nan
    table = checkpoint_trend(made_scores(values))
    part = table[(table["over"] == "all") & (table["layer"] == 2)]
    assert part["change"].isna().tolist() == [True, True, True, False]


def test_the_wide_table_has_the_same_numbers() -> None:
    scores = made_scores(random_scores())
    long, wide = checkpoint_trend(scores), checkpoint_trend_wide(scores)
    assert wide.columns[-4:].tolist() == CHECKPOINTS
    for row in long.itertuples():
        same = cell(wide, layer=row.layer, over=row.over, target=row.target)
        assert same[row.checkpoint] == row.score


def test_a_line_over_log_steps_has_its_slope() -> None:
    steps = np.array([0, 10, 100, 1000])
    line = 0.1 + 0.05 * np.log10(1 + steps)
    values = np.broadcast_to(line[:, None, None], (4, 2, 3))
    found = cell(trend_slopes(made_scores(values)), layer=1, **ALL)
    assert found["n_checkpoints"] == 4
    assert (found["slope"], found["low"], found["high"]) == pytest.approx((0.05,) * 3)


def test_one_checkpoint_far_off_does_not_turn_the_slope() -> None:
    line = 0.1 + 0.05 * np.log10(1 + np.array([0, 10, 100, 1000]))
    line[0] = -5
    values = np.broadcast_to(line[:, None, None], (4, 1, 3))
    found = cell(trend_slopes(made_scores(values)), **ALL)
    assert 0.04 < found["low"] <= found["slope"]
    assert found["high"] > 1  # the interval shows it


def test_a_slope_is_over_all_checkpoints_with_a_step_or_none() -> None:
    values = random_scores()
    values[1, 0, 0] = np.nan
    table = trend_slopes(made_scores(values))
    assert np.isnan(cell(table, layer=0, **ALL)["slope"])
    assert np.isfinite(cell(table, layer=1, **ALL)["slope"])


def test_a_checkpoint_without_a_step_counts_only_where_its_step_is_given() -> None:
    scores = made_scores(random_scores()).replace({"checkpoint": {"step1000": "main"}})
    without = trend_slopes(scores)
    given = trend_slopes(scores, steps_of={"main": 1000})
    assert set(without["n_checkpoints"]) == {3}
    plain = trend_slopes(made_scores(random_scores()))
    assert given["slope"].tolist() == plain["slope"].tolist()
