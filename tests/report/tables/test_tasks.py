"""What single tasks tell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from actstore.report.tables import sub_metrics, task_sensitivity
from tests.report.tables.made_scores import cell, made_scores, random_scores


def test_sensitivity_tells_layers_from_checkpoints() -> None:
    values = np.zeros((4, 5, 3))
    values[:, :, 0] = np.arange(5) / 10  # only layers matter
    values[:, :, 1] = np.arange(4)[:, None] / 10  # only checkpoints matter
    table = task_sensitivity(made_scores(values))
    layers, checkpoints = cell(table, task="Modules"), cell(table, task="Groups")
    assert layers["sd_layers"] == pytest.approx((np.arange(5) / 10).std(ddof=1))
    assert (layers["sd_checkpoints"], checkpoints["sd_layers"]) == (0, 0)
    assert checkpoints["sd_checkpoints"] == pytest.approx((np.arange(4) / 10).std(ddof=1))
    assert layers["range"] == pytest.approx(0.4)
    assert (layers["best_checkpoint"], layers["best_layer"]) == ("step0", 4)
    assert (checkpoints["best_checkpoint"], checkpoints["best_layer"]) == ("step1000", 0)


def test_tasks_are_compared_over_the_same_arms() -> None:
    values = random_scores()
    values[0, 0, 0] = 9
    values[0, 0, 1] = np.nan  # so this arm counts for no task
    table = task_sensitivity(made_scores(values))
    assert set(table["n_arms"]) == {19}
    assert cell(table, task="Modules")["n_scored"] == 20
    assert cell(table, task="Modules")["max"] < 1


def test_all_leaves_are_one_row_each() -> None:
    place = {"model": "m", "checkpoint": "step1", "step": 1.0, "layer": 0, "pooling": "mean"}
    place |= {"transform": "", "task_type": "STS", "split": "test", "subset": "default"}
    first = pd.DataFrame([{**place, "task": "A", "main_score": 0.5, "cosine": 0.25}])
    second = pd.DataFrame([{**place, "task": "B", "main_score": 0.75, "cosine": np.nan}])
    table = sub_metrics([first, second])
    rows = table[["task", "leaf", "value"]].values.tolist()
    assert rows == [["A", "main_score", 0.5], ["A", "cosine", 0.25], ["B", "main_score", 0.75]]
    assert sub_metrics([]).columns.tolist() == table.columns.tolist()
