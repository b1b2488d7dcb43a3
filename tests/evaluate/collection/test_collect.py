"""Collecting suites: what goes into the store, what is skipped, what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from actstore.errors import InvalidInputError, PartlyDoneError
from actstore.evaluate import Suite, TaskSelection, collect
from actstore.evaluate.collection.collect import collect_task
from actstore.store import NO_ROW, Store, create_store, open_store
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


def test_tasks_that_fail_do_not_keep_others_from_being_collected(
    store: Store, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = {"sentence1": ["a", "b"], "sentence2": ["c", "d"]}
    data = {"default": DatasetDict(test=Dataset.from_dict(unscored))}
    with monkeypatch.context() as patch:
        patch.setitem(small_hub.data, "mteb/sickr-sts", data)
        with pytest.raises(PartlyDoneError) as error:
            collect(store, suite_of("RonSTS", "STSBenchmark", "SICK-R", "STS12"))
    told = str(error.value)
    assert "2 of 4 tasks of small collected" in told
    assert "- RonSTS: The data of RonSTS could not be loaded" in told
    assert "- SICK-R: SICK-R fails on its own data: " in told
    assert error.value.exit_code == 1
    assert store.tasks() == ["STS12", "STSBenchmark"]
    mended = collect(store, suite_of("STSBenchmark", "SICK-R", "STS12"))
    assert mended.collected == ("SICK-R",)


def test_the_manifest_tells_where_the_data_came_from(store: Store) -> None:
    collect(store, suite_of("MassiveIntentClassification"))
    manifest = store.task("MassiveIntentClassification").manifest
    assert manifest["dataset"]["path"] == "mteb/amazon_massive_intent"
    revision = manifest["dataset"]["revision"]
    assert len(revision) == 40
    assert manifest["commits"] == {"mteb/amazon_massive_intent": revision}
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


def test_a_bundle_of_unknown_commits_is_collected_again(store: Store) -> None:
    collect(store, suite_of("STSBenchmark"))
    bundle = store.task("STSBenchmark")
    unknown = {key: value for key, value in bundle.manifest.items() if key != "commits"}
    tables = {"000-test": bundle.table("000-test")}
    store.write_task("STSBenchmark", unknown, bundle.calls(), tables)
    assert collect(store, suite_of("STSBenchmark")).collected == ("STSBenchmark",)


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


def test_the_digest_follows_instructions_and_the_side_of_a_search(
    small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection, path = suite_of("InstructIR").tasks[0], "mteb/InstructIR-mteb"
    task = collect_task(selection)
    said = small_hub.data[path]["instruction"]["test"]
    assert task.calls[0].texts[0].endswith(f" {said[0]['instruction']}")
    others = DatasetDict(test=said.map(lambda row: {"instruction": f"{row['instruction']}!"}))
    with monkeypatch.context() as patch:
        patch.setitem(small_hub.data, path, {**small_hub.data[path], "instruction": others})
        assert collect_task(selection).manifest["digest"] != task.manifest["digest"]
    sideless = [replace(call, prompt_type="") for call in task.calls]
    monkeypatch.setattr(f"{collect.__module__}.record_calls", lambda _: sideless)
    assert collect_task(selection).manifest["digest"] != task.manifest["digest"]
    monkeypatch.setattr(f"{collect.__module__}.record_calls", lambda _: task.calls)
    assert collect_task(selection).manifest["digest"] == task.manifest["digest"]


def test_an_empty_text_is_collected_without_a_row(
    store: Store, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"sentence1": ["a", "b"], "sentence2": ["c", ""], "score": [0.0, 1.0]}
    data = {"default": DatasetDict(test=Dataset.from_dict(rows))}
    monkeypatch.setitem(small_hub.data, "mteb/sickr-sts", data)
    collect(store, suite_of("SICK-R"))
    assert store.texts()["text"].tolist() == ["a", "b", "c"]
    assert store.task("SICK-R").calls()["rows"].to_pylist() == [[0, 1], [2, NO_ROW]]
    assert store.task("SICK-R").rows().tolist() == [0, 1, 2]


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


_KILLED_BEFORE_TASKS_ARE_WRITTEN = """
import os, signal, sys
from actstore.evaluate import collect
from actstore.store import Store, open_store

Store.write_task = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
collect(open_store(sys.argv[1]), "DocstringPairClassification")
"""


def test_a_kill_between_texts_and_tasks_leaves_a_store_that_is_gone_on_with(store: Store) -> None:
    command = [sys.executable, "-c", _KILLED_BEFORE_TASKS_ARE_WRITTEN, store.url]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = open_store(store.url)
    assert left.tasks() == []
    n_texts = len(left.text_rows())
    assert n_texts > 0
    assert collect(left, "DocstringPairClassification").new_texts == 0
    rows = left.task("DocstringPairClassification").rows()
    assert {*rows.tolist()} == {*range(n_texts)}
