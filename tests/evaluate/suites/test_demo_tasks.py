from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import mteb
import numpy as np
import pytest
from mteb.abstasks import AbsTask
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from numpy.typing import NDArray

from actstore.evaluate.suites.demo_tasks import DEMO_TASKS
from actstore.evaluate.suites.demo_texts import topics
from actstore.stdlib_text import comments, docstrings


class BagOfWords(AbsEncoder):
    """A text is the sum of its words' random vectors: deterministic, and better than chance."""

    mteb_model_meta = ModelMeta.create_empty({"name": "actstore-test/words", "revision": "1"})

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        texts = inputs.dataset["text"][:]
        self.seen.extend(texts)
        return np.stack([sum(map(_vector, text.split())) for text in texts])


def _vector(word: str) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(word.lower().encode(), digest_size=4).digest())
    return np.random.default_rng(seed).standard_normal(256).astype(np.float32)


def _loaded(name: str) -> AbsTask:
    task = DEMO_TASKS[name]()
    task.load_data()
    return task


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("DocstringModuleClassification", 0.1),
        ("TextKindClassification", 0.25),
        ("DocstringModuleClustering", 0.05),
        ("DocstringPairClassification", 0.5),
        ("DocstringModuleRetrieval", 0.1),
        ("CommentDocstringReranking", 0.15),
    ],
)
def test_a_task_runs_in_mteb_and_words_do_better_than_chance(name: str, chance: float) -> None:
    encoder = BagOfWords()
    result = mteb.evaluate(
        encoder, [DEMO_TASKS[name]()], cache=None, co2_tracker=False, show_progress_bar=False
    )
    assert chance * 1.1 < result.task_results[0].get_score() < 0.95
    assert len(set(encoder.seen)) >= 300


def test_every_task_is_described_in_full_and_five_types_are_there() -> None:
    metadata = [task.metadata for task in DEMO_TASKS.values()]
    assert [entry.name for entry in metadata] == list(DEMO_TASKS)
    assert all(entry.is_filled() for entry in metadata)
    assert {entry.type for entry in metadata} == {
        "Classification",
        "Clustering",
        "PairClassification",
        "Retrieval",
        "Reranking",
    }


def test_texts_carry_the_label_of_the_package_they_stand_in() -> None:
    package = {_one_line(text.text): text.package for text in docstrings()}
    task = _loaded("DocstringModuleClassification")
    checked = 0
    for row in (*task.dataset["train"], *task.dataset["test"]):
        if row["text"] in package:  # not shortened
            assert row["label_text"] == package[row["text"]]
            checked += 1
    assert checked > 200


def test_kinds_are_those_of_the_source() -> None:
    kind = {_one_line(text.text): text.kind for text in (*comments(), *docstrings())}
    task = _loaded("TextKindClassification")
    rows = [row for row in task.dataset["test"] if row["text"] in kind]
    assert len(rows) > 100
    assert sum(row["label_text"] == kind[row["text"]] for row in rows) >= 0.98 * len(rows)


@pytest.mark.parametrize("name", ["DocstringModuleClassification", "TextKindClassification"])
def test_labels_are_even_and_no_text_is_in_both_splits(name: str) -> None:
    dataset = _loaded(name).dataset
    for split in ("train", "test"):
        counts = Counter(dataset[split]["label"])
        assert len(set(counts.values())) == 1
        assert sorted(counts) == list(range(len(counts)))
    assert not set(dataset["train"]["text"]) & set(dataset["test"]["text"])


def test_no_text_names_the_package_it_is_from() -> None:
    passages = [passage for group in topics().values() for passage in group]
    assert len(passages) == len({passage.text for passage in passages}) == 700
    for passage in passages:
        assert passage.package.strip("_") not in passage.text.lower()


def test_pairs_are_of_one_package_exactly_where_they_are_labelled_so() -> None:
    package = {p.text: p.package for group in topics().values() for p in group}
    rows = list(_loaded("DocstringPairClassification").dataset["test"])
    for row in rows:
        assert row["sentence1"] != row["sentence2"]
        assert (package[row["sentence1"]] == package[row["sentence2"]]) == row["labels"]
    assert Counter(row["labels"] for row in rows) == {0: 350, 1: 350}


@pytest.mark.parametrize("name", ["DocstringModuleRetrieval", "CommentDocstringReranking"])
def test_what_is_relevant_is_of_the_query_s_package_and_never_the_query(name: str) -> None:
    split = _loaded(name).dataset["default"]["test"]
    package = {p.text: p.package for group in topics().values() for p in group}
    queries = dict(zip(split["queries"]["id"], split["queries"]["text"], strict=True))
    library = dict(zip(split["corpus"]["id"], split["corpus"]["text"], strict=True))
    assert set(split["relevant_docs"]) == set(queries)
    assert not set(queries.values()) & set(library.values())
    for query, relevant in split["relevant_docs"].items():
        (of,) = {package[library[document]] for document in relevant}
        assert package.get(queries[query], of) == of


def test_reranking_shows_three_documents_of_each_package() -> None:
    split = _loaded("CommentDocstringReranking").dataset["default"]["test"]
    for query, shown in split["top_ranked"].items():
        assert len(set(shown)) == 30
        assert len(split["relevant_docs"][query]) == 3
        assert set(split["relevant_docs"][query]) <= set(shown)


def test_the_texts_are_the_same_in_every_run() -> None:
    assert topics.__wrapped__() == topics()


def _one_line(text: str) -> str:
    return " ".join(text.split())
