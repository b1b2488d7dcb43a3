"""Exported scores: read back with pandas and with mteb's own cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.store import ScoreRecord, Store, create_store
from actstore.store.results.score_export import (
    SCORE_TABLES,
    ScoreQuery,
    export_scores,
    select_scores,
)

MODEL = "org/small"
TASKS = ("STS12", "BIOSSES")
SCORE = ScoreRecord(
    model=MODEL,
    checkpoint="step1",
    layer=0,
    pooling="mean",
    task="STS12",
    task_type="STS",
    split="test",
    subset="default",
    main_score=1 / 3,
    scores={"cosine_spearman": 1 / 3},
    in_average=True,
    evaluation_seconds=1.0,
    mteb_version="2.26.24",
    inputs_digest="d",
)


def add_score(store: Store, record: ScoreRecord) -> None:
    """Record a score and write the file that mteb keeps of it."""
    entry = {"main_score": record.main_score, "hf_subset": "default", "languages": ["eng-Latn"]}
    result = TaskResult(
        dataset_revision="r",
        task_name=record.task,
        mteb_version="2.26.24",
        scores={"test": [entry]},
        evaluation_time=1.0,
    )
    meta = ModelMeta.create_empty(
        {
            "name": record.model if "/" in record.model else f"local/{record.model}",
            "revision": record.checkpoint,
            "experiment_kwargs": {"layer": record.layer, "pooling": record.pooling},
        }
    )
    ResultCache(store.results_path).save_to_cache(result, meta)
    store.record_scores([record])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "s.zarr")
    tasks = [{"name": task, "averaged": [["test", "default"]]} for task in TASKS]
    store.write_suite("both", {"name": "both", "description": "", "tasks": [*tasks]})
    for checkpoint in ("step1", "step2"):
        for layer, task in ((0, "STS12"), (1, "STS12"), (1, "BIOSSES")):
            value = 1 / (3 + layer + len(task))
            record = replace(SCORE, checkpoint=checkpoint, layer=layer, task=task)
            add_score(store, replace(record, main_score=value))
    return store


def places(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}


@pytest.mark.parametrize("by", SCORE_TABLES)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_table_comes_back_from_its_file(
    store: Store, tmp_path: Path, by: str, kind: str
) -> None:
    query = ScoreQuery(by=by, suite="both")
    (path,) = export_scores(store, tmp_path / "deep" / f"scores.{kind}", query)
    if kind == "csv":
        found = pd.read_csv(path, keep_default_na=False, na_values={"mean": "", "step": ""})
    else:
        found = pd.read_parquet(path)
    expected = select_scores(store, query)
    assert found.columns.tolist() == expected.columns.tolist()
    shared = [name for name in expected if expected[name].notna().all()]
    pd.testing.assert_frame_equal(
        found[shared], expected[shared], check_dtype=False, check_exact=True
    )


def test_a_query_selects_suite_model_and_checkpoints(store: Store) -> None:
    add_score(store, replace(SCORE, model="tiny", task="SICK-R"))
    assert len(select_scores(store, ScoreQuery())) == 7
    assert len(select_scores(store, ScoreQuery(suite="both"))) == 6
    assert len(select_scores(store, ScoreQuery(model="tiny"))) == 1
    assert len(select_scores(store, ScoreQuery(suite="BIOSSES", checkpoints=("last:1",)))) == 1
    assert len(select_scores(store, ScoreQuery(model=MODEL, checkpoints=("step1*",)))) == 3


def test_what_was_never_scored_or_does_not_exist_is_an_error(store: Store) -> None:
    store.record_scores([replace(SCORE, model="tiny", task="SICK-R")])
    with pytest.raises(InvalidInputError, match="no scores of that.*actstore eval"):
        select_scores(store, ScoreQuery(suite="both", model="tiny"))
    with pytest.raises(UnknownNameError, match="model with scores 'org/smal'.*'org/small'"):
        select_scores(store, ScoreQuery(model="org/smal"))
    with pytest.raises(UnknownNameError, match="score table 'tasks'.*'task'"):
        select_scores(store, ScoreQuery(by="tasks"))
    with pytest.raises(UnknownNameError, match="step3"):
        select_scores(store, ScoreQuery(checkpoints=("step3*",)))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_score_table_is_replaced_and_a_file_of_somebody_else_is_not(
    store: Store, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"scores.{kind}"
    for by in ("task", "suite"):
        export_scores(store, path, ScoreQuery(by=by))
    path.write_text("name,age\nsomebody,7\n")
    with pytest.raises(InvalidInputError, match="not a score table.*another name"):
        export_scores(store, path, ScoreQuery())
    assert path.read_text() == "name,age\nsomebody,7\n"


def test_mteb_reads_an_exported_folder_as_it_reads_the_store(store: Store, tmp_path: Path) -> None:
    export_scores(store, tmp_path / "all", ScoreQuery())
    results = [
        ResultCache(root).load_results(tasks=[*TASKS], load_experiments="match_name")
        for root in (store.results_path, tmp_path / "all")
    ]
    ours, theirs = (
        {
            (model.model_revision, model.experiment_name, result.task_name): result.get_score()
            for model in found.model_results
            for result in model.task_results
        }
        for found in results
    )
    assert ours == theirs
    assert len(theirs) == 6


def test_only_what_is_selected_is_copied(store: Store, tmp_path: Path) -> None:
    add_score(store, replace(SCORE, model="tiny"))
    export_scores(store, tmp_path / "one", ScoreQuery(suite="BIOSSES", checkpoints=("step2",)))
    layer = "results/org__small/step2/experiments/layer_1__pooling_mean"
    names = {f"{layer}/BIOSSES.json", f"{layer}/model_meta.json", "actstore-export.json"}
    assert places(tmp_path / "one") == names
    assert (tmp_path / "one" / layer / "run_settings.jsonl").exists()
    export_scores(store, tmp_path / "two", ScoreQuery(model="tiny"))
    found = [place for place in places(tmp_path / "two") if place.endswith("STS12.json")]
    assert found == ["results/local__tiny/step1/experiments/layer_0__pooling_mean/STS12.json"]


def test_a_second_export_brings_newer_scores(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_scores(store, out, ScoreQuery(checkpoints=("step1",)))
    add_score(store, replace(SCORE, main_score=0.875))
    written = export_scores(store, out, ScoreQuery())
    file = out / "results/org__small/step1/experiments/layer_0__pooling_mean/STS12.json"
    assert file in written
    assert json.loads(file.read_text())["scores"]["test"][0]["main_score"] == 0.875
    assert not list(out.rglob("*.partial"))


def test_results_of_somebody_else_are_not_overwritten_and_nothing_is_written(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    theirs = out / "results/org__small/step1/experiments/layer_0__pooling_mean/STS12.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    with pytest.raises(InvalidInputError, match=r"results of others: .*/STS12\.json\. Give"):
        export_scores(store, out, ScoreQuery())
    assert places(out) == {theirs.relative_to(out).as_posix()}
    assert theirs.read_text() == "{}"


def test_a_name_that_is_neither_table_nor_folder_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"scores\.xlsx.*\.csv or \.parquet"):
        export_scores(store, tmp_path / "scores.xlsx", ScoreQuery())
    with pytest.raises(InvalidInputError, match="--by"):
        export_scores(store, tmp_path / "folder", ScoreQuery(by="task"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="is a file"):
        export_scores(store, tmp_path / "file", ScoreQuery())
    assert not (tmp_path / "folder").exists()


def test_scores_without_result_files_are_named_as_such(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_scores([SCORE])
    with pytest.raises(InvalidInputError, match=r"no result files.*scores\.csv"):
        export_scores(store, tmp_path / "out", ScoreQuery())
