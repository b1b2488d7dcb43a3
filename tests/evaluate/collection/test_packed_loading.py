"""Judgements and candidates loaded packed are those that mteb loads."""

from __future__ import annotations

from typing import Any

import mteb
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks import retrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

from actstore.evaluate.collection.bundle import freeze
from actstore.evaluate.collection.packed_loading import packed_loading
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements
from tests.support.mteb_data import SmallHub, mteb_warnings_ignored

RERANKING = [
    "AskUbuntuDupQuestions",
    "MindSmallReranking",
    "SciDocsRR",
    "StackOverflowDupQuestions",
]
NAME = RERANKING[0]


def load(name: str, *, packed: bool = True, version: str = mteb.__version__) -> Any:
    with mteb_warnings_ignored():
        task = mteb.get_task(name)
        if packed:
            with packed_loading(task, version):
                task.load_data()
        else:
            task.load_data()
    return task


def split(task: Any) -> dict[str, Any]:
    data: dict[str, Any] = task.dataset["default"]["test"]
    return data


@pytest.mark.parametrize("name", [*RERANKING, "SciFact"])
def test_what_is_loaded_packed_is_what_mteb_loads(name: str) -> None:
    packed, plain = load(name), load(name, packed=False)
    assert type(split(packed)["relevant_docs"]) is Judgements
    assert split(packed)["relevant_docs"] == split(plain)["relevant_docs"]
    assert split(packed)["top_ranked"] == split(plain)["top_ranked"]
    assert split(packed)["queries"].to_list() == split(plain)["queries"].to_list()
    for query, judged in split(plain)["relevant_docs"].items():
        assert [*split(packed)["relevant_docs"][query]] == [*judged]  # in the same order
    assert freeze(packed).digest() == freeze(plain).digest()


def test_candidates_are_not_loaded_as_strings_of_their_own() -> None:
    ranked = split(load("MindSmallReranking"))["top_ranked"]
    assert type(ranked) is Candidates
    assert len(ranked.offsets) - 1 < len(ranked)


def test_mteb_loads_in_its_own_way_afterwards() -> None:
    load(NAME)
    assert retrieval.RetrievalDatasetLoader is RetrievalDatasetLoader
    assert type(split(load(NAME, packed=False))["top_ranked"]) is dict


def test_after_an_error_mteb_loads_in_its_own_way(
    small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(small_hub.data, "mteb/AskUbuntuDupQuestions")
    with pytest.raises(KeyError):
        load(NAME)
    assert retrieval.RetrievalDatasetLoader is RetrievalDatasetLoader


@pytest.mark.parametrize(
    ("config", "row", "part"),
    [
        ("default", {"query-id": "q0_0", "corpus-id": "d1", "score": 1}, "relevant_docs"),
        ("top_ranked", {"query-id": "q0_0", "corpus-ids": ["d1"]}, "top_ranked"),
    ],
)
def test_what_comes_twice_is_loaded_by_mteb(
    small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch, config: str, row: Any, part: str
) -> None:
    path = "mteb/AskUbuntuDupQuestions"
    rows = small_hub.data[path][config]["test"].to_list()
    twice = DatasetDict(test=Dataset.from_list([row, *rows, row, row]))
    monkeypatch.setitem(small_hub.data, path, {**small_hub.data[path], config: twice})
    found = split(load(NAME))[part]
    assert type(found) is dict
    assert found == split(load(NAME, packed=False))[part]


def test_an_unknown_version_of_mteb_loads_in_its_own_way() -> None:
    assert type(split(load(NAME, version="9.0.0"))["top_ranked"]) is dict


def test_a_task_with_a_transform_of_its_own_loads_in_its_own_way() -> None:
    with mteb_warnings_ignored():
        task = mteb.get_task(NAME)
    kind = type(task)
    task.__class__ = type(kind.__name__, (kind,), {"dataset_transform": lambda *_, **__: None})
    with packed_loading(task, mteb.__version__):
        task.load_data()
    assert type(split(task)["top_ranked"]) is dict
