"""Which names are suites, and what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate import Suite, TaskSelection, resolve_suite
from actstore.evaluate.suites import catalogue
from actstore.store import create_store


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


def test_a_benchmarks_alias_finds_the_stores_own_definition(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    suite = Suite("MTEB(eng, v2)", "as it was", resolve_suite("STS12").tasks)
    store.write_suite(suite.name, suite.to_json())
    assert resolve_suite("MTEB(eng)", store) == suite


def test_definitions_written_before_aggregates_were_known_are_read() -> None:
    old = resolve_suite("STS12").to_json()
    assert isinstance(old["tasks"], list)
    for task in old["tasks"]:
        assert isinstance(task, dict)
        del task["part_of"]
    assert Suite.from_json(old) == resolve_suite("STS12")


def test_parts_of_an_aggregate_are_kept_as_such() -> None:
    suite = resolve_suite("mteb-eng-v1")
    assert Suite.from_json(suite.to_json()) == suite
