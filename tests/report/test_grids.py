"""Scores and metrics as grids of checkpoints and layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actstore.report import (
    Grid,
    best_layers,
    best_per_task,
    mean_grid,
    metric_grids,
    task_grids,
    task_scores,
)
from actstore.store import ScoreRecord, create_store
from tests.report.scored_store import MODEL, TASKS, metric, score, scored_store


def scores_of(folder: Path, records: list[ScoreRecord]):  # type: ignore[no-untyped-def]
    store = create_store(folder / "some.zarr")
    store.record_scores(records)
    return task_scores(store.scores())


def test_checkpoints_stand_in_training_order_with_unnamed_steps_last(tmp_path: Path) -> None:
    names = ["main", "step10", "step9", "step0"]
    scores = scores_of(tmp_path, [score(name, 0, "Find", 0.5) for name in names])
    [grid] = task_grids(scores)
    assert grid.checkpoints == ("step0", "step9", "step10", "main")


def test_a_task_grid_holds_the_scores_where_they_belong(tmp_path: Path) -> None:
    cells = {("step0", 0): 0.1, ("step0", 4): 0.2, ("step8", 0): 0.3, ("step8", 4): 0.4}
    scores = scores_of(tmp_path, [score(c, layer, "Find", v) for (c, layer), v in cells.items()])
    [grid] = task_grids(scores)
    assert grid.layers == (0, 4)
    assert grid.values.tolist() == [[0.1, 0.2], [0.3, 0.4]]
    assert grid.n_missing == 0


def test_the_mean_over_tasks_needs_every_task(tmp_path: Path) -> None:
    """A mean over fewer tasks would not compare with its neighbours."""
    records = [score("step0", 0, "Find", 0.2), score("step0", 0, "Groups", 0.4)]
    records += [score("step0", 1, "Find", 0.9)]
    grid = mean_grid(scores_of(tmp_path, records))
    assert grid.title == "Mean over 2 tasks"
    assert grid.values[0, 0] == pytest.approx(0.3)
    assert np.isnan(grid.values[0, 1])
    assert grid.n_missing == 1


def test_a_score_that_is_nan_is_missing_not_skipped(tmp_path: Path) -> None:
    records = [score("step0", 0, "Find", np.nan), score("step0", 0, "Groups", 0.4)]
    records += [score("step0", 1, task, 0.5) for task in ("Find", "Groups")]
    grid = mean_grid(scores_of(tmp_path, records))
    assert np.isnan(grid.values[0, 0])
    assert grid.values[0, 1] == pytest.approx(0.5)


def test_subsets_that_count_are_averaged_and_the_others_left_out(tmp_path: Path) -> None:
    records = [
        score("step0", 0, "Find", 0.2, subset="en"),
        score("step0", 0, "Find", 0.6, subset="en-ext"),
        score("step0", 0, "Find", 0.9, subset="de", in_average=False),
    ]
    [grid] = task_grids(scores_of(tmp_path, records))
    assert grid.values == pytest.approx(0.4)


def test_a_task_that_was_not_scored_somewhere_is_missing_there(tmp_path: Path) -> None:
    records = [score("step0", 0, "Find", 0.2), score("step5", 1, "Groups", 0.4)]
    find, groups = task_grids(scores_of(tmp_path, records))
    assert (find.checkpoints, find.layers) == (groups.checkpoints, groups.layers)
    assert (find.n_missing, groups.n_missing) == (3, 3)


def test_metric_grids_carry_unit_definition_and_count(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_metrics(
        [metric("step0", layer, "curvature", layer / 2, unit="radians") for layer in (0, 1, 2)]
    )
    [grid] = metric_grids(store.metric_table())
    assert grid.values.tolist() == [[0.0, 0.5, 1.0]]
    assert grid.label == "curvature (radians)"
    assert grid.about == "curvature: Somebody 2020. From mean_pool, 500 per value."
    assert grid.slug == "curvature-mean-pool"


def grid_of(values: list[list[float]]) -> Grid:
    checkpoints = tuple(f"step{i}" for i in range(len(values)))
    layers = tuple(range(0, 2 * len(values[0]), 2))
    return Grid(
        "Find", "mean pooling", MODEL, "main score", "score", checkpoints, layers,
        np.array(values), "about",
    )  # fmt: skip


def test_the_best_layer_stands_next_to_the_last_one() -> None:
    table = best_layers(grid_of([[0.1, 0.5, 0.4], [np.nan] * 3, [0.3, 0.3, np.nan]]))
    assert table["checkpoint"].tolist() == ["step0", "step2"]
    assert table["best_layer"].tolist() == [2, 0]  # the lowest of equal ones
    assert table["last_layer"].tolist() == [4, 4]
    assert table["gain"].tolist() == pytest.approx([0.1, np.nan], nan_ok=True)


def test_the_best_cell_of_every_task_is_found() -> None:
    table = best_per_task([grid_of([[0.1, 0.2], [0.9, np.nan]]), grid_of([[np.nan, np.nan]])])
    assert table.to_dict("records") == [
        {"task": "Find", "checkpoint": "step1", "layer": 0, "score": 0.9}
    ]


def test_a_whole_store_gives_one_grid_a_task(tmp_path: Path) -> None:
    grids = list(task_grids(task_scores(scored_store(tmp_path).scores())))
    assert [grid.title for grid in grids] == sorted(TASKS)
    assert all(grid.values.shape == (6, 7) and grid.n_missing == 1 for grid in grids)


def test_scores_of_transformed_states_are_never_averaged_with_those_of_states_as_stored(
    tmp_path: Path,
) -> None:
    plain = score("step0", 0, "Find", 0.25)
    table = scores_of(tmp_path, [plain, replace(plain, transform="l2", main_score=0.75)])
    assert table[["pooling", "score"]].values.tolist() == [["mean", 0.25], ["mean (l2)", 0.75]]
