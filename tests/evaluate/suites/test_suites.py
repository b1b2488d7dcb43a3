"""Which names are suites, and what they hold."""

from __future__ import annotations

from pathlib import Path

import mteb
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate import SUITES, Suite, TaskSelection, list_suites, resolve_suite
from actstore.evaluate.suites import catalogue
from actstore.store import create_store

PAPER_COUNTS = {
    "PairClassification": 3,
    "Classification": 10,
    "Clustering": 6,
    "Reranking": 4,
    "STS": 9,
}


def test_layer_by_layer_has_the_papers_32_tasks_by_type() -> None:
    types = [
        mteb.get_task(task.name).metadata.type for task in resolve_suite("layer-by-layer").tasks
    ]
    assert {kind: types.count(kind) for kind in types} == PAPER_COUNTS


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_has_the_splits_and_subsets_named(name: str) -> None:
    suite = resolve_suite(name)
    assert suite.name == name
    for task in suite.tasks:
        known = catalogue.new_task(task.name)
        assert {*task.splits} <= {*known.eval_splits}
        assert {*task.subsets} <= {*known.hf_subsets}
        entries = {(split, subset) for split in task.splits for subset in task.subsets}
        assert task.averaged
        assert {*task.averaged} <= entries


def test_layer_by_layer_averages_the_english_subsets_of_the_test_split() -> None:
    tasks = {task.name: task for task in resolve_suite("layer-by-layer").tasks}
    assert tasks["STS17"].averaged == (("test", "en-en"),)
    assert tasks["AmazonCounterfactualClassification"].averaged == (
        ("test", "en"),
        ("test", "en-ext"),
    )
    for name in ("MassiveIntentClassification", "AmazonReviewsClassification"):
        assert tasks[name].averaged == (("test", "en"),)
    assert tasks["BIOSSES"].averaged == (("test", "default"),)


def test_a_benchmark_of_mteb_is_a_suite_with_its_own_splits() -> None:
    suite = resolve_suite("MTEB(eng, v1)")
    tasks = {task.name: task for task in suite.tasks}
    assert tasks["AmazonCounterfactualClassification"].subsets == ("en",)
    assert tasks["AmazonCounterfactualClassification"].splits == ("test",)
    assert "CQADupstackAndroidRetrieval" in tasks  # the parts of an aggregate task
    assert "CQADupstackRetrieval" not in tasks
    assert resolve_suite("MTEB") == suite  # an alias


def test_tasks_by_name_take_all_that_mteb_runs() -> None:
    suite = resolve_suite("STS12, AmazonReviewsClassification")
    assert [task.name for task in suite.tasks] == ["STS12", "AmazonReviewsClassification"]
    assert suite.tasks[1].splits == ("validation", "test")
    assert suite.tasks[1].subsets == ("en", "de", "es", "fr", "ja", "zh")
    assert resolve_suite(["STS12", "AmazonReviewsClassification", "STS12"]) == suite


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(UnknownNameError, match="'layer-by-layer'.*actstore suites"):
        resolve_suite("layer-by-layers")
    with pytest.raises(UnknownNameError, match="no task 'STS99'. Did you mean 'STS"):
        resolve_suite("STS12,STS99")
    with pytest.raises(UnknownNameError, match="no tasks"):
        resolve_suite([])


def test_tasks_that_are_not_made_of_text_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"VOC2007.* is made of image"):
        resolve_suite("VOC2007")
    with pytest.raises(InvalidInputError, match="made of"):
        resolve_suite("MIEB(eng)")
    with pytest.raises(InvalidInputError, match=r"mean of 12 tasks.*CQADupstackAndroidRetrieval"):
        catalogue.new_task("CQADupstackRetrieval")


def test_a_stores_own_definition_comes_first(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    task = TaskSelection("STS17", ("test",), ("en-en", "en-de"), (("test", "en-en"),))
    suite = Suite("layer-by-layer", "as it was in this store", (task,))
    store.write_suite(suite.name, suite.to_json())
    assert resolve_suite("layer-by-layer", store) == suite
    assert resolve_suite("layer-by-layer") != suite


def test_a_long_list_of_tasks_gets_a_name_that_can_be_a_files() -> None:
    names = [task.name for task in resolve_suite("layer-by-layer").tasks]
    long, other = resolve_suite(names), resolve_suite(names[:-1])
    assert len(long.name) < 120
    assert long.name.split("(")[1] != other.name.split("(")[1]


def test_listed_suites_can_be_resolved() -> None:
    rows = {row.name: row for row in list_suites()}
    assert {*SUITES} < {*rows}
    assert rows["layer-by-layer"].n_tasks == 32
    assert "MTEB(eng, v2)" in rows
    assert not any("/" in name for name in rows)  # names are files' names in a store
    assert "MIEB(eng)" not in rows
