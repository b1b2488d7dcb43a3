"""Grids of scores whose gaps are NaN."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from actstore.errors import InvalidInputError
from actstore.report.tables import Gaps, by_state, whole_grid
from tests.report.tables.made_scores import TYPES, made_scores, random_scores


def test_a_grid_stands_in_training_order_with_nan_where_there_is_no_score() -> None:
    values = random_scores()
    values[1, 2, 0] = np.nan
    [one] = by_state(made_scores(values).sample(frac=1, random_state=0))
    assert one.checkpoints == ["step0", "step10", "step100", "step1000"]
    order = [list(TYPES).index(task) for task in one.scores.columns]
    np.testing.assert_array_equal(one.cells(), values[:, :, order])


def test_means_are_nan_where_one_task_is_missing() -> None:
    values = random_scores()
    values[1, 2, 0] = np.nan  # Modules
    [one] = by_state(made_scores(values))
    means = one.means()
    assert means["all", "all tasks"].isna().sum() == 1
    assert np.isnan(means.loc[("step10", 2), ("type", "Classification")])
    assert means.loc[("step10", 2), ("type", "Clustering")] == values[1, 2, 1]
    assert means.loc[("step0", 0), ("all", "all tasks")] == pytest.approx(values[0, 0].mean())


def test_a_slice_leaves_out_what_has_gaps() -> None:
    values = random_scores()
    values[2, :, :] = np.nan
    values[2, 0, 0] = 0.5
    [one] = by_state(made_scores(values), Gaps.SLICE)
    assert one.checkpoints == ["step0", "step10", "step1000"]
    assert np.isfinite(one.cells()).all()
    assert one.cells().size == 45


def test_states_are_never_mixed() -> None:
    both = pd.concat([made_scores(random_scores(i), pooling=p) for i, p in enumerate("ab")])
    assert [one.pooling for one in by_state(both)] == ["a", "b"]


def test_a_table_needs_only_places_tasks_and_scores() -> None:
    table = made_scores(random_scores()).drop(columns=["model", "pooling", "transform"])
    [one] = by_state(table)
    assert (one.model, one.pooling) == ("", "")
    assert one.scores.notna().all(axis=None)


def test_a_whole_grid_has_every_task_and_place_that_should_be_scored() -> None:
    table = made_scores(random_scores()[:2, :2, :1])
    places = {"someone/small": [("step100", 7)]}
    grid = whole_grid(table, {"Modules": "Classification", "Never": "STS"}, places)
    [one] = by_state(grid)
    assert one.scores.shape == (9, 2)  # three checkpoints, three layers
    assert one.scores["Never"].isna().all()
    assert one.scores["Modules"].notna().sum() == 4


def test_two_scores_of_the_same_are_refused() -> None:
    table = made_scores(random_scores())
    with pytest.raises(
        InvalidInputError, match="Modules has two scores at step0, layer 0.*task_scores"
    ):
        list(by_state(pd.concat([table, table.iloc[:1]])))


def test_other_tables_are_refused_with_what_they_lack() -> None:
    table = made_scores(random_scores()).rename(columns={"score": "main_score"})
    with pytest.raises(InvalidInputError, match="no score. Take what Store.task_scores"):
        list(by_state(table))
