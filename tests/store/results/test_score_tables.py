"""Scores of tasks and suites, on the numbers of a small hand-made table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actstore.errors import UnknownNameError
from actstore.store import Json, ScoreRecord, Store, create_store

TYPES = {"Counter": "Classification", "Bank": "Classification", "STS12": "STS", "STS17": "STS"}
PLACE = ["checkpoint", "layer"]


def score(
    task: str,
    value: float,
    *,
    layer: int = 0,
    checkpoint: str = "step1",
    subset: str = "default",
    in_average: bool = True,
    transform: str = "",
) -> ScoreRecord:
    return ScoreRecord(
        model="m",
        checkpoint=checkpoint,
        layer=layer,
        pooling="mean",
        transform=transform,
        task=task,
        task_type=TYPES.get(task, "Retrieval"),
        split="test",
        subset=subset,
        main_score=value,
        scores={},
        in_average=in_average,
        evaluation_seconds=1.0,
        mteb_version="2",
        inputs_digest="d",
    )


def task(name: str, *subsets: str, part_of: str = "") -> dict[str, Json]:
    """As suites are stored; `part_of` is optional there."""
    averaged: list[Json] = [["test", subset] for subset in subsets or ("default",)]
    plain: dict[str, Json] = {"name": name, "splits": ["test"], "averaged": averaged}
    return {**plain, "part_of": part_of} if part_of else plain


def new_store(folder: Path, *tasks: dict[str, Json]) -> Store:
    """A store that holds the suite `paper` of these tasks."""
    store = create_store(folder / "s.zarr")
    store.write_suite("paper", {"name": "paper", "description": "", "tasks": [*tasks]})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three layers: the first whole, the second without STS17, the third without a subset."""
    store = new_store(tmp_path, task("STS12"), task("Counter", "en", "ext"), task("STS17"))
    counter = {0: (0.5, 0.75), 1: (0.25, 0.5), 2: (1.0, None)}
    for layer, (en, ext) in counter.items():
        scores = [score("Counter", en, layer=layer, subset="en")]
        scores += [] if ext is None else [score("Counter", ext, layer=layer, subset="ext")]
        scores += [score("Counter", 0.0, layer=layer, subset="de", in_average=False)]
        scores += [score("STS12", 0.125, layer=layer)]
        scores += [] if layer == 1 else [score("STS17", 0.375, layer=layer)]
        store.record_scores(scores)
    return store


def test_a_tasks_score_is_the_mean_of_what_its_suite_counts(store: Store) -> None:
    table = store.task_scores("paper").set_index(["task", "layer"])["score"]
    assert table["Counter"].tolist()[:2] == [0.625, 0.375]
    assert table["STS17"].to_dict() == {0: 0.375, 2: 0.375}


def test_a_task_has_no_score_while_a_subset_has_none(store: Store) -> None:
    table = store.task_scores("paper").set_index(["task", "layer"])["score"]
    assert math.isnan(table["Counter", 2])
    store.record_scores([score("Counter", math.nan, layer=0, subset="en")])
    assert math.isnan(
        store.task_scores("paper").set_index(["task", "layer"])["score"]["Counter", 0]
    )


def test_each_suite_has_its_own_mapping_whatever_was_scored_for_another(store: Store) -> None:
    store.write_suite("v1", {"name": "v1", "description": "", "tasks": [task("Counter", "en")]})
    assert store.task_scores("v1")["score"].tolist() == [0.5, 0.25, 1.0]
    assert store.task_scores("v1").columns.tolist() == [
        *["model", "checkpoint", "step", "layer", "pooling", "transform"],
        *["task", "task_type", "score"],
    ]


def test_without_a_suite_all_scored_tasks_count_with_all_entries_in_an_average(
    store: Store,
) -> None:
    store.record_scores([score("Bank", 0.5, layer=0)])
    table = store.task_scores()
    assert sorted(table["task"].unique()) == ["Bank", "Counter", "STS12", "STS17"]
    expected = store.task_scores("paper")
    found = table[table["task"] != "Bank"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    by_name = store.task_scores("STS17, Bank")
    assert sorted(by_name["task"].unique()) == ["Bank", "STS17"]


def test_the_array_is_labelled_and_nan_where_there_is_no_score(store: Store) -> None:
    store.record_scores([score("STS12", 0.25, checkpoint=name) for name in ("main", "step10")])
    array = store.score_array("paper")
    assert array.dims == ("model", "checkpoint", "layer", "pooling", "transform", "task")
    assert array["checkpoint"].values.tolist() == ["step1", "step10", "main"]
    np.testing.assert_array_equal(array["step"].values, [1, 10, np.nan])
    assert array["task"].values.tolist() == ["STS12", "Counter", "STS17"]
    assert array["task_type"].values.tolist() == ["STS", "Classification", "STS"]
    values = array.sel(model="m", pooling="mean", transform="", checkpoint="step1").values
    nan = np.nan
    np.testing.assert_array_equal(
        values, [[0.125, 0.625, 0.375], [0.125, 0.375, nan], [0.125, nan, 0.375]]
    )
    assert array.sel(checkpoint="main").count() == 1
    means = array.groupby("task_type").mean(skipna=False)
    assert float(means.sel(task_type="STS", checkpoint="step1", layer=0).squeeze()) == 0.25


def test_an_array_of_no_scores_has_the_same_dimensions(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    full = create_store(tmp_path / "full.zarr")
    full.record_scores([score("STS12", 0.5)])
    assert store.score_array().dims == full.score_array().dims
    assert store.score_array("paper").size == 0
    assert set(store.score_array().coords) == set(full.score_array().coords)


def test_a_suites_mean_is_over_all_its_tasks_or_not_a_number(store: Store) -> None:
    table = store.suite_scores("paper").set_index("layer")
    assert table["mean"][0] == pytest.approx((0.125 + 0.625 + 0.375) / 3)
    assert table["mean"][[1, 2]].isna().all()
    assert table["mean_of_scored"][1] == pytest.approx((0.125 + 0.375) / 2)
    assert table["n_scored"].tolist() == [3, 2, 2]
    assert table["n_tasks"].tolist() == [3, 3, 3]
    np.testing.assert_array_equal(table["STS"], [0.25, np.nan, 0.25])
    np.testing.assert_array_equal(table["Classification"], [0.625, 0.375, np.nan])


def test_means_by_type_say_how_many_tasks_they_lack(store: Store) -> None:
    table = store.type_scores("paper").set_index(["layer", "task_type"])
    assert table.loc[(1, "STS"), ["n_scored", "n_tasks", "mean_of_scored"]].tolist() == [
        *[1, 2, 0.125]
    ]
    assert math.isnan(table["mean"][1, "STS"])
    wide = store.suite_scores("paper").set_index("layer")
    for task_type in ("STS", "Classification"):
        np.testing.assert_array_equal(table["mean"].xs(task_type, level=1), wide[task_type])


def test_the_parts_of_an_aggregate_count_once_together(tmp_path: Path) -> None:
    parts = [task("One", part_of="Both"), task("Two", part_of="Both")]
    store = new_store(tmp_path, task("STS12"), *parts)
    for layer in (0, 1):
        store.record_scores([score("STS12", 0.5, layer=layer), score("One", 0.25, layer=layer)])
    store.record_scores([score("Two", 0.75, layer=0)])
    table = store.suite_scores("paper")
    np.testing.assert_array_equal(table["mean"], [0.5, np.nan])
    np.testing.assert_array_equal(table["Retrieval"], [0.5, np.nan])
    assert table[["n_scored", "n_tasks"]].values.tolist() == [[2, 2], [1, 2]]
    assert store.score_array("paper")["part_of"].values.tolist() == ["", "Both", "Both"]


def test_units_of_every_transform_and_checkpoint_stand_apart(store: Store) -> None:
    store.record_scores([score("STS12", 0.5, transform="l2"), score("STS12", 1, checkpoint="main")])
    table = store.suite_scores("STS12")
    assert table[["checkpoint", "layer", "transform", "mean"]].values.tolist() == [
        ["step1", 0, "", 0.125],
        ["step1", 0, "l2", 0.5],
        ["step1", 1, "", 0.125],
        ["step1", 2, "", 0.125],
        ["main", 0, "", 1.0],
    ]


def test_the_best_layer_has_a_margin_over_the_next_and_a_gain_over_the_last(
    tmp_path: Path,
) -> None:
    store = new_store(tmp_path, task("STS12"), task("STS17"))
    means = {"step1": [0.25, 0.75, 0.5], "step2": [0.5, 0.25, 0.5], "main": [0.5]}
    for checkpoint, values in means.items():
        for layer, value in enumerate(values):
            both = [score(t, value, layer=layer, checkpoint=checkpoint) for t in ("STS12", "STS17")]
            store.record_scores(both)
    store.record_scores([score("STS12", 1.0, layer=9, checkpoint="step1")])  # STS17 is missing
    store.record_scores([score("STS12", 1.0, layer=0, checkpoint="step3")])
    table = store.best_layers("paper").set_index("checkpoint")
    assert table.index.tolist() == ["step1", "step2", "main"]
    assert table["best_layer"].tolist() == [1, 0, 0]
    assert table["next_layer"].tolist()[:2] == [2, 2]
    assert table["next_layer"].isna()["main"]
    np.testing.assert_array_equal(table["margin"], [0.25, 0.0, np.nan])
    np.testing.assert_array_equal(table["gain"], [0.25, 0.0, 0.0])
    assert table["n_layers"].tolist() == [3, 3, 1]


def test_an_unknown_suite_or_task_is_named_with_the_nearest(store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"'papr'.*'paper'.*actstore info"):
        store.suite_scores("papr")
    store.write_suite("more", {"name": "more", "description": "", "tasks": [task("Bank")]})
    with pytest.raises(UnknownNameError, match=r"'Bank'.*actstore collect"):
        store.suite_scores("more")


def test_tables_of_no_scores_are_empty(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for table in (
        store.task_scores("paper"),
        store.suite_scores(),
        store.type_scores(),
        store.best_layers("paper"),
    ):
        assert table.empty
        assert table.columns[:3].tolist() == ["model", "checkpoint", "step"]
