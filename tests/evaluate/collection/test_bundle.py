"""Frozen tasks: the data that was loaded, in little room, identified whatever its order."""

from __future__ import annotations

from typing import Any

import mteb
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from mteb.abstasks import AbsTask

from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import FrozenData, freeze, thaw
from actstore.evaluate.collection.digests import table_digest
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements
from tests.support.mteb_data import VectorModel, leaves, mteb_warnings_ignored, scores_of

NAME = "AskUbuntuDupQuestions"


def loaded() -> AbsTask:
    with mteb_warnings_ignored():
        task = mteb.get_task(NAME)
        task.load_data()
    return task


def thawed(frozen: FrozenData, *, packed: bool = False) -> AbsTask:
    return thaw(NAME, frozen.shape, frozen.tables.__getitem__, ["test"], ["default"], packed=packed)


def split(task: AbsTask) -> dict[str, Any]:
    data: dict[str, Any] = task.dataset["default"]["test"]
    return data


def test_judgements_and_candidates_are_thawed_as_the_dictionaries_they_were() -> None:
    task = loaded()
    before, after = split(task), split(thawed(freeze(task)))
    for part in ("relevant_docs", "top_ranked"):
        assert type(after[part]) is dict
        assert after[part] == before[part]
        assert [*after[part]] == [*before[part]]


def test_packed_ones_are_equal_and_mteb_reads_them() -> None:
    frozen = freeze(loaded())
    packed, plain = thawed(frozen, packed=True), thawed(frozen)
    assert type(split(packed)["relevant_docs"]) is Judgements
    assert type(split(packed)["top_ranked"]) is Candidates
    assert split(packed)["relevant_docs"] == split(plain)["relevant_docs"]
    assert split(packed)["top_ranked"] == split(plain)["top_ranked"]
    scores = [leaves(scores_of(VectorModel(), task)) for task in (packed, plain)]
    assert scores[0] == scores[1]


def test_freezing_what_was_thawed_packed_gives_the_same_tables() -> None:
    frozen = freeze(loaded())
    again = freeze(thawed(frozen, packed=True))
    assert again.shape == frozen.shape
    assert again.tables == frozen.tables
    assert again.digest() == frozen.digest()


def test_the_digest_knows_judgements_but_not_their_order() -> None:
    task = loaded()
    digest, data = freeze(task).digest(), split(task)
    judged = data["relevant_docs"]
    data["relevant_docs"] = dict(reversed(judged.items()))
    assert freeze(task).digest() == digest
    query = next(iter(judged))
    data["relevant_docs"] = {**judged, query: dict.fromkeys(judged[query], 2)}
    assert freeze(task).digest() != digest


def test_the_digest_knows_the_order_of_candidates() -> None:
    task = loaded()
    digest, data = freeze(task).digest(), split(task)
    data["top_ranked"] = {query: ids[::-1] for query, ids in data["top_ranked"].items()}
    assert freeze(task).digest() != digest


def test_a_bundle_of_an_unknown_form_is_to_be_collected_again() -> None:
    frozen = freeze(loaded())
    shape = {"data": {"kind": "qrels", "table": "x"}, "attributes": {}}
    with pytest.raises(InvalidInputError, match=f"{NAME} was collected by another version .*qrels"):
        thawed(FrozenData(shape, frozen.tables))


def test_a_table_has_one_digest_however_it_is_cut() -> None:
    rows = {"text": [f"text {i}" for i in range(100_000)], "n": [None, *range(99_999)]}
    rows["list"] = [[i] * (i % 3) for i in range(100_000)]
    whole = pa.table(rows)
    cut = pa.concat_tables([whole[:1], whole[1:70_001], whole[70_001:]])
    assert table_digest(cut) == table_digest(whole)
    assert table_digest(whole[1:]) != table_digest(whole)
    assert table_digest(whole.set_column(1, "n", pa.array(range(100_000)))) != table_digest(whole)


def test_class_names_are_part_of_the_data() -> None:
    digests = []
    for names in (["a", "b"], ["a", "c"]):
        with mteb_warnings_ignored():
            task = mteb.get_task("Banking77Classification")
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        task.dataset = {"test": Dataset.from_dict({"text": ["x"], "label": [0]}, features)}
        digests.append(freeze(task).digest())
    assert digests[0] != digests[1]
