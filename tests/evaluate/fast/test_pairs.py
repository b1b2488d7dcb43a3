"""Pairs of texts: pair classification and semantic similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mteb.models.model_meta import ScoringFunction

from actstore.evaluate.fast import quicken, similarity
from tests.evaluate.fast.small_tasks import GivenVectors, assert_same, loaded_task, run, task_with
from tests.support.mteb_data import VectorModel

CLASSIFICATION, SIMILARITY = "TwitterSemEval2015", "STSBenchmark"
BOTH = [CLASSIFICATION, SIMILARITY]


def pair_columns(n: int, n_texts: int = 12) -> dict[str, list[Any]]:
    """Pairs of few texts, so that texts and whole pairs come again, with labels and scores."""
    random = np.random.default_rng(n)
    first, second = random.integers(0, n_texts, (2, n))
    columns = {"sentence1": [f"t{i}" for i in first], "sentence2": [f"t{i}" for i in second]}
    labels = ((first + second) % 3 == 0).astype(int)
    return {**columns, "labels": labels.tolist(), "score": (labels * 4.5).tolist()}


def task_of(name: str, columns: dict[str, list[Any]]) -> Any:
    kept = "labels" if name == CLASSIFICATION else "score"
    return task_with(name, test={c: columns[c] for c in ("sentence1", "sentence2", kept)})


def vectors(hidden: int = 8, dtype: str = "float32", n_texts: int = 12) -> dict[str, np.ndarray]:
    """Of a few texts; two of them are the same and one is zero, as vectors can be."""
    rows = np.random.default_rng(7).normal(size=(n_texts, hidden)) * 3
    rows[3], rows[4] = rows[2], 0
    return {f"t{i}": row.astype(dtype) for i, row in enumerate(rows)}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("hidden", [1, 8, 100, 1023])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_vectors_of_any_kind_have_mtebs_scores(name: str, hidden: int, dtype: str) -> None:
    assert_same(task_of(name, pair_columns(50)), GivenVectors(vectors(hidden, dtype)))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("similarity_fn", [ScoringFunction.DOT_PRODUCT, None])
def test_other_similarities_have_mtebs_scores(
    name: str, similarity_fn: ScoringFunction | None
) -> None:
    assert_same(task_of(name, pair_columns(50)), GivenVectors(vectors(), similarity_fn))


@pytest.mark.parametrize("name", BOTH)
def test_a_similarity_of_the_models_own_sees_all_pairs_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ranks(GivenVectors):
        def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
            return np.argsort(np.argsort((embeddings1 * embeddings2).sum(axis=1)))

    monkeypatch.setattr(similarity, "_BLOCK_VALUES", 24)
    assert_same(task_of(name, pair_columns(50)), Ranks(vectors()))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_blocks_of_any_size_give_the_same(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK_VALUES", 64 * rows)
    assert_same(task_of(name, pair_columns(50)), GivenVectors(vectors(64)))


@pytest.mark.parametrize("name", BOTH)
def test_vectors_longer_than_numpys_buffer_are_left_to_mteb(name: str) -> None:
    model, columns = GivenVectors(vectors(9000)), pair_columns(40)
    assert_same(task_of(name, columns), model)
    model.n_encoded = 0
    run(model, quicken(task_of(name, columns)))
    assert model.n_encoded > 80


@pytest.mark.parametrize("name", BOTH)
def test_tensors_are_left_to_mteb(name: str) -> None:
    class Tensors(GivenVectors):
        def encode(self, inputs: Any, **more: Any) -> Any:
            import torch

            return torch.tensor(super().encode(inputs, **more))

    assert_same(task_of(name, pair_columns(30)), Tensors(vectors()))


@pytest.mark.parametrize("label", [0, 1])
def test_pairs_of_one_label_have_mtebs_scores(label: int) -> None:
    columns = {**pair_columns(20), "labels": [label] * 20}
    assert_same(task_of(CLASSIFICATION, columns), GivenVectors(vectors()))


@pytest.mark.parametrize("name", BOTH)
def test_equal_scores_of_all_pairs_have_mtebs_scores(name: str) -> None:
    ones = {f"t{i}": np.ones(4, np.float32) for i in range(12)}
    assert_same(task_of(name, pair_columns(20)), GivenVectors(ones))


def test_folded_pairs_have_mtebs_scores() -> None:
    columns = {name: [values] for name, values in pair_columns(20).items() if name != "score"}
    task = task_with(CLASSIFICATION, test=columns)
    assert len(quicken(task).dataset["test"]) == 20
    assert_same(task, GivenVectors(vectors()))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_single_folded_pair_has_mtebs_scores(dtype: str) -> None:
    columns = {"sentence1": [["t1"]], "sentence2": [["t2"]], "labels": [[1]]}
    assert_same(task_with(CLASSIFICATION, test=columns), GivenVectors(vectors(dtype=dtype)))


@pytest.mark.parametrize("name", BOTH)
def test_each_text_is_encoded_once_a_side(name: str) -> None:
    model, columns = GivenVectors(vectors()), pair_columns(200)
    run(model, quicken(task_of(name, columns)))
    assert model.n_encoded == sum(len({*columns[side]}) for side in ("sentence1", "sentence2"))


@pytest.mark.parametrize("name", BOTH)
def test_a_model_is_told_what_mteb_tells_it(name: str) -> None:
    told = []
    for task in (loaded_task(name), quicken(loaded_task(name))):
        model = VectorModel()
        run(model, task)
        told.append([call[:3] for call in model.calls])
    assert told[0] == told[1]


@pytest.mark.parametrize("name", BOTH)
def test_vectors_that_are_not_finite_are_an_error_as_in_mteb(name: str) -> None:
    broken = vectors()
    broken["t5"][2] = np.nan
    task = task_of(name, pair_columns(50))
    for one in (task, quicken(task)):
        with pytest.raises(ValueError, match="contains NaN"):
            run(GivenVectors(broken), one)


@pytest.mark.parametrize("n_rows", [0, 1, 5, 1000])
@pytest.mark.parametrize("hidden", [0, 1, 1024])
def test_blocks_cover_all_rows(n_rows: int, hidden: int) -> None:
    rows = np.arange(n_rows)
    found = np.concatenate([rows[block] for block in similarity._blocks(n_rows, hidden)])
    assert found.tolist() == rows.tolist()
