"""Quickened reranking gives mteb's own scores, whatever the candidates and judgements are like."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
import torch
from datasets import Dataset
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.similarity_functions import dot_score
from mteb.types import PromptType
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking.lists import Candidates, Judgements
from actstore.evaluate.fast.ranking.reranking import quicken_reranking
from tests.evaluate.fast.ranking.shapes import SHAPES, Generator, Shape
from tests.support.mteb_data import VectorModel, leaves, mteb_warnings_ignored, scores_of

RERANKING = [
    "AskUbuntuDupQuestions",
    "MindSmallReranking",
    "SciDocsRR",
    "StackOverflowDupQuestions",
]
MERGED, PLAIN = "MindSmallReranking", "AskUbuntuDupQuestions"


class HashModel(AbsEncoder):
    """Vectors drawn anew for every text; rounded ones give equal scores for unlike texts."""

    def __init__(self, hidden: int = 24, decimals: int = 8, constant: bool = False) -> None:
        self.hidden, self.decimals, self.constant = hidden, decimals, constant
        self.asked: list[tuple[PromptType, list[str]]] = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/hash", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> NDArray[np.float32]:
        texts = [text for batch in inputs for text in batch["text"]]
        self.asked.append((prompt_type, texts))
        return np.array([self.vector(text) for text in texts], np.float32)

    def vector(self, text: str) -> NDArray[np.float64]:
        draw = np.random.default_rng(zlib.crc32(text.encode()))
        mean = np.full(self.hidden, 3.0)
        return (
            mean if self.constant else (mean + draw.normal(size=self.hidden)).round(self.decimals)
        )


def make_task(name: str, data: dict[str, Any], splits: tuple[str, ...] = ("test",)) -> AbsTask:
    with mteb_warnings_ignored():
        task = mteb.get_task(name)
    task.dataset = {"default": {split: dict(data) for split in splits}}
    task.data_loaded = True
    return task


def is_quick(task: AbsTask, split: str = "test") -> bool:
    """Whether the task ranks in blocks; if not, it runs mteb's own code."""
    data = task.dataset["default"][split]
    return task._split(data, "default", split).plan is not None


def run(task: AbsTask, model: AbsEncoder | None = None) -> dict[str, Any]:
    return leaves(scores_of(model or HashModel(), task))


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return Generator(Shape(), 0).split()


@pytest.mark.parametrize(
    ("name", "seed"),
    [(MERGED, 0), (MERGED, 1), (PLAIN, 2)],
    ids=["merged", "merged again", "plain"],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=[*SHAPES])
def test_every_leaf_is_mtebs_own(shape: Shape, name: str, seed: int) -> None:
    data = Generator(shape, seed).split()
    if name == MERGED:  # mteb cannot merge where a query has no judgement
        data["relevant_docs"] = {q: d or {"z": 1} for q, d in data["relevant_docs"].items()}
    quick = quicken_reranking(make_task(name, data))
    assert is_quick(quick)
    assert run(quick) == run(make_task(name, data))


@pytest.mark.parametrize("name", RERANKING)
def test_every_leaf_of_the_papers_tasks_is_mtebs_own(name: str) -> None:
    with mteb_warnings_ignored():
        task = mteb.get_task(name)
        task.load_data()
    quick = quicken_reranking(task)
    assert is_quick(quick)
    assert run(quick, VectorModel(1)) == run(task, VectorModel(1))


def test_vectors_without_any_difference_give_mtebs_scores(data: dict[str, Any]) -> None:
    model = HashModel(constant=True)
    assert run(quicken_reranking(make_task(MERGED, data)), model) == run(
        make_task(MERGED, data), model
    )


@pytest.mark.parametrize("hidden", [1, 3, 16, 100, 1024])
def test_vectors_of_any_width_give_mtebs_scores(data: dict[str, Any], hidden: int) -> None:
    model = HashModel(hidden)
    assert run(quicken_reranking(make_task(PLAIN, data)), model) == run(
        make_task(PLAIN, data), model
    )


def test_layers_one_after_the_other_do_not_touch_each_other(data: dict[str, Any]) -> None:
    quick = quicken_reranking(make_task(MERGED, data))
    first, second, again = (run(quick, HashModel(hidden)) for hidden in (8, 9, 8))
    assert first == again != second
    assert second == run(make_task(MERGED, data), HashModel(9))


def test_splits_are_told_apart() -> None:
    splits = {split: Generator(Shape(), seed).split() for seed, split in enumerate("ab")}
    tasks = [make_task(PLAIN, splits["a"]) for _ in range(2)]
    for task in tasks:
        task.dataset = {"default": {split: dict(data) for split, data in splits.items()}}
        task._eval_splits = ["a", "b"]
    quick = quicken_reranking(tasks[0])
    assert is_quick(quick, "a")
    found = run(quick)
    assert found == run(tasks[1])
    assert found[".a[0].map_at_10"] != found[".b[0].map_at_10"]


def test_other_data_in_the_same_task_is_seen(data: dict[str, Any]) -> None:
    quick = quicken_reranking(make_task(PLAIN, data))
    before = run(quick)
    judged = {query: {"none": 1} for query in data["relevant_docs"]}
    quick.dataset["default"]["test"]["relevant_docs"] = judged
    assert run(quick) != before


def test_packed_lists_give_the_scores_of_dictionaries(data: dict[str, Any]) -> None:
    judged, ranked = Judgements.pack(data["relevant_docs"]), Candidates.pack(data["top_ranked"])
    packed = {**data, "relevant_docs": judged, "top_ranked": ranked}
    expected = run(make_task(MERGED, data))
    assert run(quicken_reranking(make_task(MERGED, packed))) == expected
    assert run(make_task(MERGED, packed)) == expected  # mteb itself reads them too


def test_each_text_is_asked_for_once_and_joined_as_mteb_does() -> None:
    data = Generator(Shape(), 0).split()
    instructions = [f"do {i % 2}" for i in range(len(data["queries"]))]
    data["queries"] = data["queries"].add_column("instruction", instructions)
    model, upstream = HashModel(), HashModel()
    assert run(quicken_reranking(make_task(PLAIN, data)), model) == run(
        make_task(PLAIN, data), upstream
    )
    (kind, queries), (other, documents) = model.asked
    assert (kind, other) == (PromptType.query, PromptType.document)
    assert queries == list(dict.fromkeys(upstream.asked[0][1]))
    assert documents == upstream.asked[1][1]


def test_the_task_given_stays_as_it_is(data: dict[str, Any]) -> None:
    task = make_task(PLAIN, data)
    before, kind = dict(vars(task)), type(task)
    run(quicken_reranking(task), AbsentSimilarity())  # which runs mteb's code on the data
    assert vars(task) == before
    assert type(task) is kind
    assert task.dataset["default"]["test"] == data
    assert {*vars(quicken_reranking(task))} == {*before}


class AbsentSimilarity(HashModel):
    """Compares in a way of its own."""

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        return -dot_score(embeddings1, embeddings2)


class HalfPrecision(HashModel):
    def encode(self, inputs: Any, **options: Any) -> Any:
        return super().encode(inputs, **options).astype(np.float16)


def by_dot_product() -> HashModel:
    model = HashModel()
    other = {"similarity_fn_name": ScoringFunction.DOT_PRODUCT}
    model.mteb_model_meta = model.mteb_model_meta.model_copy(update=other)
    return model


@pytest.mark.parametrize("make", [AbsentSimilarity, HalfPrecision, by_dot_product])
def test_models_that_are_compared_otherwise_get_mtebs_scores(
    data: dict[str, Any], make: Any
) -> None:
    found = run(quicken_reranking(make_task(PLAIN, data)), make())
    assert found == run(make_task(PLAIN, data), make())
    assert make is HalfPrecision or found != run(make_task(PLAIN, data))


def test_tensors_give_the_scores_of_arrays(data: dict[str, Any]) -> None:
    class Tensors(HashModel):
        def encode(self, inputs: Any, **options: Any) -> Any:
            return torch.tensor(super().encode(inputs, **options))

    assert run(quicken_reranking(make_task(PLAIN, data)), Tensors()) == run(make_task(PLAIN, data))


def test_a_similarity_that_is_no_number_is_mtebs_error(data: dict[str, Any]) -> None:
    class Broken(HashModel):
        def vector(self, text: str) -> NDArray[np.float64]:
            return super().vector(text) * np.nan

    with pytest.raises(ValueError, match="NaN values detected in the similarity scores"):
        run(quicken_reranking(make_task(PLAIN, data)), Broken())


def test_predictions_are_saved_by_mteb(data: dict[str, Any], tmp_path: Path) -> None:
    quick = quicken_reranking(make_task(PLAIN, data))
    mteb.evaluate(HashModel(), quick, cache=None, co2_tracker=False, prediction_folder=tmp_path)
    assert [path.name for path in tmp_path.rglob("*predictions.json")]


def _without_candidates(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "top_ranked": None}


def _same_query_twice(data: dict[str, Any]) -> dict[str, Any]:
    rows = data["queries"].to_list()
    return {**data, "queries": Dataset.from_list([*rows, {**rows[0], "text": "another"}])}


def _same_document_twice(data: dict[str, Any]) -> dict[str, Any]:
    rows = data["corpus"].to_list()
    return {**data, "corpus": Dataset.from_list([*rows, {**rows[0], "text": "another"}])}


def _negative_grades(data: dict[str, Any]) -> dict[str, Any]:
    judged = {query: {**ones, "no": -1} for query, ones in data["relevant_docs"].items()}
    return {**data, "relevant_docs": judged}


@pytest.mark.parametrize(
    "change", [_without_candidates, _same_query_twice, _same_document_twice, _negative_grades]
)
def test_data_that_mteb_treats_in_ways_of_its_own_is_left_to_it(
    data: dict[str, Any], change: Any
) -> None:
    quick = quicken_reranking(make_task(PLAIN, change(data)))
    found = run(quick)
    assert not is_quick(quick)
    assert found == run(make_task(PLAIN, change(data)))


def test_a_candidate_that_the_corpus_has_not_is_mtebs_error(data: dict[str, Any]) -> None:
    ranked = {query: [*ones, "nowhere"] for query, ones in data["top_ranked"].items()}
    with pytest.raises(KeyError, match="nowhere"):
        run(quicken_reranking(make_task(PLAIN, {**data, "top_ranked": ranked})))


def test_judgements_of_queries_there_are_not_are_mtebs_error_where_they_are_merged(
    data: dict[str, Any],
) -> None:
    judged = {**data["relevant_docs"], "9_9": {"z": 1}}
    with pytest.raises(KeyError, match="9_9"):
        run(quicken_reranking(make_task(MERGED, {**data, "relevant_docs": judged})))


@pytest.mark.parametrize("method", ["_evaluate_subset", "task_specific_scores", "evaluate"])
def test_a_task_with_a_method_of_its_own_is_left_alone(data: dict[str, Any], method: str) -> None:
    task = make_task(PLAIN, data)
    kind = type(task)
    own = {method: lambda self, *args, **more: getattr(kind, method)(self, *args, **more)}
    task.__class__ = type(kind.__name__, (kind,), own)
    assert quicken_reranking(task) is task


def test_a_task_object_with_a_method_of_its_own_is_left_alone(data: dict[str, Any]) -> None:
    task = make_task(PLAIN, data)
    task.task_specific_scores = lambda *_, **__: {"own": 1.0}
    assert quicken_reranking(task) is task


def test_a_task_that_leaves_results_out_is_left_alone(data: dict[str, Any]) -> None:
    for setting in ("ignore_identical_ids", "skip_first_result"):
        task = make_task(PLAIN, data)
        setattr(task, setting, True)
        assert quicken_reranking(task) is task


def test_with_a_patched_mteb_a_task_is_left_alone(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AbsTaskRetrieval, "_evaluate_subset", lambda *_, **__: {})
    task = make_task(PLAIN, data)
    assert quicken_reranking(task) is task


def test_quickening_twice_changes_nothing_more(data: dict[str, Any]) -> None:
    quick = quicken_reranking(make_task(PLAIN, data))
    assert quicken_reranking(quick) is quick
