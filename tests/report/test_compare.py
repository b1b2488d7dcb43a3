"""Published tables of many forms beside a small store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.report.compare import OurScores, compare
from actstore.report.published import Reading
from actstore.store import Store, create_store
from actstore.store.results.score_export import write_table
from tests.report.scored_store import MODEL, score

TASKS = {"Modules": 0.5, "Groups": 0.25, "Similar": 0.75}
CHECKPOINTS = ("step10", "main")
LAYERS = (0, 1, 2)


def ours(checkpoint: str, layer: int, task: str) -> float:
    return TASKS[task] + layer / 16 + (checkpoint == "main") / 32


def theirs(checkpoint: str, layer: int, task: str) -> float:
    """1/64 above ours; Similar at layer 2 is 1/8 below."""
    return ours(checkpoint, layer, task) + (-1 / 8 if (task, layer) == ("Similar", 2) else 1 / 64)


def published() -> pd.DataFrame:
    rows = [(c, i, t, theirs(c, i, t)) for c in CHECKPOINTS for i in LAYERS for t in TASKS]
    return pd.DataFrame(rows, columns=["revision", "layer", "task", "main_score"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "s.zarr")
    cells = [(c, i, t) for c in CHECKPOINTS for i in LAYERS for t in TASKS]
    store.record_scores([score(*cell, ours(*cell)) for cell in cells])
    return store


def as_csv(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def as_tsv(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path.with_suffix(".tsv"), index=False, sep="\t")
    return path.with_suffix(".tsv")


def as_parquet(table: pd.DataFrame, path: Path) -> Path:
    table.to_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def as_json_lines(table: pd.DataFrame, path: Path) -> Path:
    table.to_json(path.with_suffix(".jsonl"), orient="records", lines=True, double_precision=15)
    return path.with_suffix(".jsonl")


def as_wide_csv(table: pd.DataFrame, path: Path) -> Path:
    """Tasks as columns, among others that are none."""
    wide = table.pivot(index=["revision", "layer"], columns="task", values="main_score")
    return as_csv(wide.assign(Average=55.5).reset_index(), path)


def as_other_names(table: pd.DataFrame, path: Path) -> Path:
    names = {"revision": "Checkpoint", "layer": "Layer", "task": "task_name", "main_score": "Score"}
    return as_csv(table.rename(columns=names).assign(model=MODEL, seconds=3), path)


def write_result(folder: Path, task: str, scores: dict[str, dict[str, float]]) -> None:
    """A TaskResult as mteb 1 and 2 write it. scores: by split and subset."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {
        split: [{"hf_subset": name, "main_score": value} for name, value in subsets.items()]
        for split, subsets in scores.items()
    }
    (folder / f"{task}.json").write_text(json.dumps({"task_name": task, "scores": entries}))


def as_paper_folder(table: pd.DataFrame, path: Path) -> Path:
    """`<family>/<size>/<revision>/mteb/layer_<l>/<Task>.json`, another split first."""
    for revision, layer, task, value in table.itertuples(index=False):
        folder = path / "Pythia" / "410m" / revision / "mteb" / f"layer_{layer}"
        scores = {"validation": {"default": 0.99}, "test": {"default": value}}
        write_result(folder, task, scores)
        (folder / "model_meta.json").write_text('{"name": "no_model_name_available"}')
    return path


def as_mteb_folder(table: pd.DataFrame, path: Path) -> Path:
    """`results/<model>/<revision>/experiments/layer_<l>__pooling_<p>/<Task>.json`, two poolings."""
    for revision, layer, task, value in table.itertuples(index=False):
        for pooling in ("mean", "last_normed"):
            above = path / "results" / MODEL.replace("/", "__") / revision / "experiments"
            folder = above / f"layer_{layer}__pooling_{pooling}"
            write_result(folder, task, {"test": {"default": value * (pooling == "mean")}})
            states = {"layer": layer, "pooling": pooling}
            meta = {"name": MODEL, "revision": revision, "experiment_kwargs": states}
            (folder / "model_meta.json").write_text(json.dumps(meta))
    return path


FORMS = [as_csv, as_tsv, as_parquet, as_json_lines, as_wide_csv, as_other_names]
FOLDERS = [as_paper_folder, as_mteb_folder]


@pytest.mark.parametrize("write", FORMS + FOLDERS)
def test_a_published_table_is_set_beside_ours_whatever_its_form(
    store: Store, tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path]
) -> None:
    found = compare(store, write(published(), tmp_path / "paper"))
    cells = found.cells.set_index(["checkpoint", "layer", "task"])
    assert len(cells) == 18
    for place, row in cells.iterrows():
        assert row["ours"] == ours(*place)
        assert row["theirs"] == pytest.approx(theirs(*place), abs=1e-15)
    np.testing.assert_allclose(cells["difference"], cells["ours"] - cells["theirs"])
    assert (found.model, found.pooling, found.transform) == (MODEL, "mean", "")


def test_a_table_in_memory_is_read_like_a_file_and_left_as_it_is(store: Store) -> None:
    table = published()
    compare(store, table)
    pd.testing.assert_frame_equal(table, published())


def test_cells_stand_in_training_order_with_what_only_one_side_has(store: Store) -> None:
    store.record_scores([score("step9", 0, "Groups", 0.5), score("main", 0, "Extra", 0.5)])
    table = published()[lambda t: ~((t["task"] == "Groups") & (t["layer"] == 0))]
    more = pd.DataFrame([["main", 0, "Theirs", 0.5]], columns=table.columns)
    cells = compare(store, pd.concat([table, more])).cells
    assert cells["checkpoint"].drop_duplicates().tolist() == ["step10", "main"]
    missing = cells[cells["difference"].isna()].set_index(["checkpoint", "task"])
    assert sorted(missing.index) == [
        *[("main", "Extra"), ("main", "Groups"), ("main", "Theirs"), ("step10", "Groups")]
    ]
    assert missing.loc[("main", "Theirs"), "task_type"] == ""


def test_means_by_layer_are_over_the_tasks_that_both_have(store: Store) -> None:
    table = published()[lambda t: ~((t["task"] == "Groups") & (t["layer"] == 0))]
    layers = compare(store, table).by_layer().set_index(["checkpoint", "layer"])
    first, last = layers.loc[("step10", 0)], layers.loc[("step10", 2)]
    assert (first["n_common"], first["n_ours"], first["n_theirs"]) == (2, 3, 2)
    assert first["ours"] == (TASKS["Modules"] + TASKS["Similar"]) / 2
    assert first["difference"] == -1 / 64
    assert (last["largest"], last["largest_task"]) == (1 / 8, "Similar")
    np.testing.assert_array_equal(layers["step"], [10] * 3 + [np.nan] * 3)


def test_means_by_type_and_task_are_over_all_layers(store: Store) -> None:
    found = compare(store, published())
    types = found.by_type().set_index("task_type")
    assert types.loc["Clustering", "difference"] == -1 / 64
    assert types.loc["STS", "difference"] == pytest.approx((1 / 8 - 2 / 64) / 3)
    assert types["n_common"].tolist() == [6, 6, 6]
    assert found.by_task().set_index("task").loc["Similar", "largest"] == 1 / 8


def test_every_table_is_found_by_its_name_and_written_again_over_itself(
    store: Store, tmp_path: Path
) -> None:
    found = compare(store, published())
    sizes = {"cell": 18, "layer": 6, "type": 3, "task": 3, "checkpoint": 2}
    assert {by: len(found.table(by)) for by in sizes} == sizes
    with pytest.raises(UnknownNameError, match="table of a comparison 'layers'.*'layer'"):
        found.table("layers")
    for _ in range(2):
        path = write_table(found.cells, tmp_path / "cells.csv")
    np.testing.assert_array_equal(pd.read_csv(path)["difference"], found.cells["difference"])


def test_each_checkpoints_best_layers_are_named(store: Store) -> None:
    table = compare(store, published()).by_checkpoint().set_index("checkpoint")
    assert table["best_layer_ours"].tolist() == [2, 2]
    assert table["best_layer_theirs"].tolist() == [2, 2]
    falling = published().assign(main_score=lambda t: 0.5 - t["layer"] / 8)
    table = compare(store, falling).by_checkpoint().set_index("checkpoint")
    assert table["best_layer_theirs"].tolist() == [0, 0]
    np.testing.assert_allclose(table["rank_correlation"], -1)
    assert table[["n_layers", "n_tasks"]].values.tolist() == [[3, 3], [3, 3]]


def test_the_suites_mapping_chooses_subsets_in_a_folder_of_results(
    store: Store, tmp_path: Path
) -> None:
    store.record_scores([score("main", 0, "Two", 0.5, subset=name) for name in ("en", "en-ext")])
    store.record_scores([score("main", 0, "Two", 0.0, subset="de", in_average=False)])
    folder = tmp_path / "main" / "layer_0"
    both = {"de": 0.875, "en-ext": 0.75, "en": 0.5}
    write_result(folder, "Two", {"validation": {"en": 0.1}, "test": both})
    (cell,) = compare(store, tmp_path / "main").cells.dropna(subset="difference").to_dict("records")
    assert (cell["task"], cell["theirs"]) == ("Two", 0.625)
    write_result(folder, "Two", {"test": {"en": 0.5}})
    write_result(folder, "Groups", {"test": {"default": 0.5}})
    cells = compare(store, tmp_path / "main").cells
    assert cells.dropna(subset="difference")["task"].tolist() == ["Groups"]


def test_layers_checkpoints_and_percentages_of_others_are_translated(store: Store) -> None:
    table = published().assign(layer=lambda t: t["layer"] - 1, revision=published()["revision"])
    table["main_score"] *= 100
    table["revision"] = table["revision"].replace("main", "final")
    reading = Reading(layer_offset=1, checkpoint_names={"final": "main"}, percent=True)
    pd.testing.assert_frame_equal(
        compare(store, table, reading=reading).cells, compare(store, published()).cells
    )


def test_what_a_table_does_not_say_is_given_with_it(store: Store) -> None:
    part = published().query("revision == 'main' and layer == 1")
    table = part.drop(columns=["revision", "layer"])
    with pytest.raises(InvalidInputError, match="no column revision.*step10, main.*--checkpoint"):
        compare(store, table)
    with pytest.raises(InvalidInputError, match=r"task, score, checkpoint.*--layer N"):
        compare(store, table, reading=Reading(checkpoint="main"))
    cells = compare(store, table, reading=Reading(checkpoint="main", layer=1)).cells
    assert len(cells.dropna(subset="difference")) == 3


def test_empty_cells_of_a_published_table_are_no_scores(store: Store, tmp_path: Path) -> None:
    table = published()
    table.loc[0, "main_score"] = np.nan
    for write in (as_csv, as_wide_csv, as_json_lines):
        cells = compare(store, write(table, tmp_path / "paper")).cells
        assert cells["theirs"].isna().sum() == 1


def test_percentages_are_asked_about_and_never_guessed(store: Store) -> None:
    table = published().assign(main_score=lambda t: t["main_score"] * 100)
    with pytest.raises(InvalidInputError, match="go to 85.9375.*--percent"):
        compare(store, table)
    with pytest.raises(InvalidInputError, match="no percentages.*Leave out"):
        compare(store, published(), reading=Reading(percent=True))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"task": ["Groups"], "layer": [0], "value": [1]}, "main_score or score.*task, layer, val"),
        ({"layer": [0], "Unknown": [1]}, "named like our tasks.*layer, Unknown.*Rename"),
        ({"task": ["Groups"], "layer": ["x"], "score": [1]}, "layer that is no number: 'x'"),
        ({"task": ["Groups"], "layer": [0.5], "score": [1]}, "no whole number: 0.5"),
        ({"task": ["Groups"], "layer": [0], "score": ["61%"]}, "no number: '61%' in row 0"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_columns(
    store: Store, table: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        compare(store, pd.DataFrame(table).assign(revision="main"))


def test_files_that_cannot_be_read_are_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no file or folder"):
        compare(store, tmp_path / "none.csv")
    (tmp_path / "paper.xlsx").write_text("")
    with pytest.raises(InvalidInputError, match=r"\.csv, \.tsv, \.parquet and \.jsonl"):
        compare(store, tmp_path / "paper.xlsx")
    for name in ("paper.parquet", "paper.jsonl", "paper.csv"):
        (tmp_path / name).write_text("{" if name != "paper.csv" else "")
        with pytest.raises(InvalidInputError, match=f"{name} cannot be read"):
            compare(store, tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no mteb results.*layer_0"):
        compare(store, tmp_path / "empty")
    (tmp_path / "empty" / "Broken.json").write_text("[")
    with pytest.raises(InvalidInputError, match=r"Broken\.json is no result file"):
        compare(store, tmp_path / "empty")


def test_several_models_poolings_or_transforms_must_be_told_apart(store: Store) -> None:
    store.record_scores([score("main", 0, "Groups", 0.125, pooling="last")])
    with pytest.raises(InvalidInputError, match=r"2 poolings: last, mean.*--pooling"):
        compare(store, published())
    cells = compare(store, published(), OurScores(pooling="last")).cells
    assert cells["ours"].dropna().tolist() == [0.125]
    with pytest.raises(UnknownNameError, match="scored pooling 'lost'.*'last'"):
        compare(store, published(), OurScores(pooling="lost"))
    both = pd.concat([published().assign(model="a"), published().assign(model="b")])
    choice = OurScores(pooling="mean")
    with pytest.raises(InvalidInputError, match="2 models: a, b.*--their-model"):
        compare(store, both, choice)
    assert len(compare(store, both, choice, Reading(model="b")).cells) == 18
    with pytest.raises(InvalidInputError, match="names no model"):
        compare(store, published(), choice, Reading(model="b"))
    other = published().assign(pooling="max")
    with pytest.raises(InvalidInputError, match="pooling 'max', ours.*'mean'"):
        compare(store, other, choice)


def test_two_published_scores_of_one_cell_are_an_error_unless_they_are_equal(
    store: Store,
) -> None:
    table = published()
    assert len(compare(store, pd.concat([table, table.head(2)])).cells) == 18
    again = table.head(1).assign(main_score=0.0625)
    with pytest.raises(
        InvalidInputError, match="several scores of Modules at step10, layer 0: 0.5"
    ):
        compare(store, pd.concat([table, again]))


def test_tables_with_nothing_in_common_are_outlined(store: Store) -> None:
    table = published().query("revision == 'main'").assign(revision="143000")
    with pytest.raises(
        InvalidInputError,
        match=r"Nothing is common.*step10, main; layers 0 to 2.*143000.*--rename-checkpoint",
    ):
        compare(store, table)
    names = {"14300": "main"}
    with pytest.raises(UnknownNameError, match="checkpoint in the published table '14300'"):
        compare(store, table, reading=Reading(checkpoint_names=names))


def test_a_store_without_scores_has_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no scores.*actstore eval"):
        compare(create_store(tmp_path / "s.zarr"), published())
