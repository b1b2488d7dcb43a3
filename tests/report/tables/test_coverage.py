"""What is there, what is missing, what compares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from actstore.report.tables import (
    comparable_slices,
    coverage_by_layer,
    coverage_by_task,
    metric_availability,
)
from tests.report.tables.made_scores import cell, made_scores, random_scores


def gapped() -> pd.DataFrame:
    values = random_scores()
    values[1, [0, 1, 4], 2] = np.nan  # Names at three layers of step10
    values[1, 1, 1] = np.nan
    return made_scores(values)


def test_coverage_by_task_names_the_layers_that_are_missing() -> None:
    table = coverage_by_task(gapped())
    assert len(table) == 12
    found = cell(table, checkpoint="step10", task="Names")
    assert (found["n_scored"], found["n_layers"], found["share"]) == (2, 5, 0.4)
    assert found["missing_layers"] == "0-1, 4"
    assert found["step"] == 10
    assert (table["missing_layers"] == "").sum() == 10


def test_coverage_by_layer_names_the_tasks_that_are_missing() -> None:
    table = coverage_by_layer(gapped())
    assert len(table) == 20
    found = cell(table, checkpoint="step10", layer=1)
    assert (found["n_scored"], found["n_tasks"]) == (1, 3)
    assert found["missing_tasks"] == "Groups, Names"
    assert cell(table, checkpoint="step0", layer=1)["share"] == 1


def test_comparable_slices_are_given_for_each_rule() -> None:
    table = comparable_slices(gapped())
    assert table["keeps"].tolist() == [
        "any", "checkpoints", "layers", "tasks",
        "checkpoints, layers", "checkpoints, tasks", "layers, tasks",
    ]  # fmt: skip
    assert cell(table, keeps="any")["checkpoints"] == "step0, step100, step1000"
    assert cell(table, keeps="any")["n_scores"] == 45
    assert cell(table, keeps="checkpoints, layers")["tasks"] == "Modules"
    assert cell(table, keeps="checkpoints, tasks")["layers"] == "2-3"
    assert cell(table, keeps="layers, tasks")["n_scores"] == 45


def test_a_rule_that_nothing_meets_has_an_empty_slice() -> None:
    values = random_scores()
    values[[0, 1, 2, 3], 0, [0, 1, 2, 0]] = np.nan  # a gap in each checkpoint
    found = cell(comparable_slices(made_scores(values)), keeps="layers, tasks")
    assert (found["n_scores"], found["checkpoints"], found["layers"]) == (0, "", "")


def test_availability_says_which_metrics_are_nan_and_why() -> None:
    rows = [
        ("m", "step0", 0, "rank", "pool", np.nan, "one row"),
        ("m", "step0", 1, "rank", "pool", 3.0, ""),
        ("m", "step10", 1, "rank", "pool", 4.0, ""),
        ("m", "step10", 0, "bend", "pool", 1.0, ""),
    ]
    columns = ["model", "checkpoint", "layer", "metric", "source", "value", "reason"]
    arms = pd.DataFrame({"model": "m", "checkpoint": "step0", "layer": [0, 1, 2]})
    table = metric_availability(pd.DataFrame(rows, columns=columns), arms)
    found = cell(table, metric="rank", checkpoint="step0")
    assert (found["n_values"], found["n_nan"], found["n_missing"]) == (1, 1, 1)
    assert (found["nan_layers"], found["missing_layers"]) == ("0", "2")
    assert found["reasons"] == "one row (1)"
    assert cell(table, metric="bend", checkpoint="step0")["missing_layers"] == "0-2"
    assert cell(table, metric="rank", checkpoint="step10")["step"] == 10
