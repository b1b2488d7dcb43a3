"""Collecting suites: what goes into the store, what is skipped, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from actstore.errors import InvalidInputError, InvalidTextError, PartlyDoneError
from actstore.evaluate import Suite, TaskSelection, collect
from actstore.evaluate.collection.collect import collect_task
from actstore.store import Store, create_store
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import suite_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "s.zarr")


def test_texts_are_stored_once_and_in_order_of_first_use(store: Store) -> None:
    report = collect(store, suite_of("STSBenchmark", "AmazonCounterfactualClassification"))
    texts = store.texts()["text"]
    assert report.new_texts == len(texts) == texts.nunique()
    first = store.task("STSBenchmark").calls()["rows"][0].as_py()
    assert [*dict.fromkeys(first)] == sorted({*first})
    again = collect(store, suite_of("STSBenchmark", "STS17"))
    assert again.skipped == ("STSBenchmark",)
    assert again.collected == ("STS17",)


def test_a_suite_is_defined_once_its_tasks_are_there(store: Store) -> None:
    with pytest.raises(PartlyDoneError, match=r"RonSTS could not be loaded from mteb/RonSTS"):
        collect(store, suite_of("RonSTS", "STSBenchmark"))
    assert store.tasks() == ["STSBenchmark"]  # what was collected stays
    assert store.suites() == []
    report = collect(store, suite_of("STSBenchmark"))
    assert report.collected == ()
    assert store.suite("small")["tasks"][0]["averaged"] == [["test", "default"]]


def test_the_manifest_tells_where_the_data_came_from(store: Store) -> None:
    collect(store, suite_of("MassiveIntentClassification"))
    manifest = store.task("MassiveIntentClassification").manifest
    assert manifest["dataset"]["path"] == "mteb/amazon_massive_intent"
    assert len(manifest["dataset"]["revision"]) == 40
    assert manifest["type"] == "Classification"
    assert manifest["selection"]["subsets"] == ["en"]
    assert {*manifest["versions"]} >= {"mteb", "datasets", "scikit-learn"}
    assert json.loads(json.dumps(manifest)) == manifest


def test_another_revision_of_the_data_is_collected_again(store: Store) -> None:
    collect(store, suite_of("STSBenchmark"))
    bundle = store.task("STSBenchmark")
    outdated = {**bundle.manifest, "dataset": {**bundle.manifest["dataset"], "revision": "0" * 40}}
    tables = {"000-test": bundle.table("000-test")}
    store.write_task("STSBenchmark", outdated, bundle.calls(), tables)
    assert collect(store, suite_of("STSBenchmark")).collected == ("STSBenchmark",)
    assert store.task("STSBenchmark").manifest == bundle.manifest


def test_suites_that_share_a_task_do_not_take_each_others_subsets(store: Store) -> None:
    collect(store, suite_of("STS17"))
    german = TaskSelection.of_all("STS17", ["test"], ["en-de"])
    collect(store, Suite("other", "", (german,)))
    calls = store.task("STS17").calls()
    assert {*calls["subset"].to_pylist()} == {"en-en", "en-de"}
    assert collect(store, suite_of("STS17")).skipped == ("STS17",)
    assert collect(store, Suite("other", "", (german,))).skipped == ("STS17",)


def test_the_digest_follows_the_data_and_not_the_order_of_loading(
    small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = suite_of("AskUbuntuDupQuestions").tasks[0]
    digests = {collect_task(selection).manifest["digest"] for _ in range(4)}
    assert len(digests) == 1
    path = "mteb/AskUbuntuDupQuestions"
    judged = small_hub.data[path]["default"]["test"]
    fewer = DatasetDict(test=judged.select(range(1, len(judged))))
    monkeypatch.setitem(small_hub.data, path, {**small_hub.data[path], "default": fewer})
    assert collect_task(selection).manifest["digest"] not in digests


def test_an_empty_text_names_the_task_and_where(
    store: Store, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"sentence1": ["a", "b"], "sentence2": ["c", ""], "score": [0.0, 1.0]}
    data = {"default": DatasetDict(test=Dataset.from_dict(rows))}
    monkeypatch.setitem(small_hub.data, "mteb/sickr-sts", data)
    with pytest.raises(InvalidTextError, match=r"SICK-R .*split test.*text 1 of 2"):
        collect(store, suite_of("SICK-R"))
    assert len(store.text_rows()) == 0


def test_reranking_without_its_candidates_is_refused(
    store: Store, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "mteb/AskUbuntuDupQuestions"
    # What `datasets` makes of it where HF_HUB_OFFLINE is set: mteb would score retrieval.
    offline = {k: v for k, v in small_hub.data[path].items() if k != "top_ranked"}
    monkeypatch.setitem(small_hub.data, path, offline)
    with pytest.raises(InvalidInputError, match="AskUbuntuDupQuestions reranks given"):
        collect(store, suite_of("AskUbuntuDupQuestions"))
    assert store.tasks() == []


def test_a_library_bar_setting_is_put_back(store: Store) -> None:
    datasets.enable_progress_bars()
    collect(store, suite_of("STSBenchmark"))
    assert not datasets.are_progress_bars_disabled()


def test_the_demo_suite_collects_without_a_hub(store: Store) -> None:
    report = collect(store, "demo")
    assert len(report.collected) >= 4
    types = {store.task(name).manifest["type"] for name in report.collected}
    assert len(types) >= 4
    rows = np.concatenate([store.task(name).rows() for name in report.collected])
    assert {*rows.tolist()} == {*store.text_rows().tolist()}
