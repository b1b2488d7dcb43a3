"""What a task encodes is recorded as a model is asked for it."""

from __future__ import annotations

from typing import Any

import mteb
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTask

from actstore.evaluate.collection import record
from actstore.evaluate.collection.record import record_calls
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements
from tests.support.mteb_data import VectorModel, mteb_warnings_ignored, scores_of

QUERIES = [
    {"id": "b", "text": " which? ", "instruction": "find"},
    {"id": "a", "text": " which? ", "instruction": "find"},
    {"id": "none", "text": "not judged", "instruction": "find"},
    {"id": "c", "text": " which? ", "instruction": "seek"},
    {"id": "d", "text": "", "instruction": "find"},
]
CORPUS = [
    {"id": "1", "title": "A", "text": " document "},
    {"id": "2", "title": "", "text": " document "},
    {"id": "3", "title": "A", "text": " document "},
]


def reranking(**parts: Any) -> AbsTask:
    with mteb_warnings_ignored():
        task = mteb.get_task("AskUbuntuDupQuestions")
    data = {
        "corpus": Dataset.from_list(CORPUS),
        "queries": Dataset.from_list(QUERIES),
        "relevant_docs": {query: {"1": 1} for query in "abcd"} | {"none": {}},
        "top_ranked": {query: ["3", "1"] for query in "abcd"},
    }
    task.dataset, task.data_loaded = {"default": {"test": {**data, **parts}}}, True
    return task


def recorded(task: AbsTask) -> list[tuple[str, str, str, list[str]]]:
    calls = record_calls(task)
    return [(call.split, call.subset, call.prompt_type, list(call.texts)) for call in calls]


def asked(task: AbsTask) -> list[tuple[str, str, str, list[str]]]:
    model = VectorModel()
    scores_of(model, task)
    return model.calls


@pytest.mark.parametrize("ranks_all", [False, True], ids=["candidates", "whole corpus"])
def test_instructions_and_titles_are_joined_as_for_a_model(ranks_all: bool) -> None:
    parts = {"top_ranked": None} if ranks_all else {}
    queries = [row for row in QUERIES if row["text"]]  # the test's model knows no empty text
    parts["queries"] = Dataset.from_list(queries)
    found = recorded(reranking(**parts))
    assert found == asked(reranking(**parts))
    assert found[0][3] == [" which?  find", " which?  find", " which?  seek"]
    assert found[1][3] == ["A  document", "document", "A  document"]


def test_conversations_are_joined_as_for_a_model() -> None:
    turns = [
        [{"role": "user", "content": word}, {"role": "bot", "content": "yes"}] for word in "xy"
    ]
    rows = [{"id": query, "text": one} for query, one in zip("ab", turns, strict=True)]
    found = recorded(reranking(queries=Dataset.from_list(rows)))
    assert found == asked(reranking(queries=Dataset.from_list(rows)))


def test_packed_judgements_give_the_same_record() -> None:
    plain = reranking().dataset["default"]["test"]
    packed = {
        "relevant_docs": Judgements.pack(plain["relevant_docs"]),
        "top_ranked": Candidates.pack(plain["top_ranked"]),
    }
    assert recorded(reranking(**packed)) == recorded(reranking())


def test_each_distinct_row_is_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, create = [], record.create_dataloader

    def counting(data: Any, **options: Any) -> Any:
        sizes.append(len(data))
        return create(data, **options)

    monkeypatch.setattr(record, "create_dataloader", counting)
    recorded(reranking())
    assert sizes == [3, 2]
