"""Clustering: prepared sets of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from actstore.evaluate.fast import clustering, quicken
from actstore.evaluate.fast.clustering import label_codes, with_label_codes
from tests.evaluate.fast.small_tasks import GivenVectors, assert_same, loaded_task, run, task_with
from tests.support.mteb_data import VectorModel

SETS, SAMPLE = "TwentyNewsgroupsClustering", "RedditClustering.v2"


def sets(*labels: list[Any]) -> dict[str, list[Any]]:
    texts = [[f"word{i % 7} topic{i % 3}term{i % 5}" for i in range(len(one))] for one in labels]
    return {"sentences": texts, "labels": [*labels]}


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 1, 2] * 9, [5, 5, 7] * 4],
        [["b", "a", "c"] * 9, ["x", "x", "a"] * 4],
        [[3, 3, 3, 3], [2, 1] * 5, []],
        [[-1, 0, 4] * 8],
    ],
    ids=["numbers", "names", "sets of one label and of none", "a negative one"],
)
def test_sets_have_mtebs_scores(labels: list[list[Any]]) -> None:
    assert_same(task_with(SETS, test=sets(*labels)), VectorModel())


def test_equal_vectors_have_mtebs_scores() -> None:
    data = sets([0, 1, 1] * 8)
    model = GivenVectors({text: np.ones(4, np.float32) for text in data["sentences"][0]})
    assert_same(task_with(SETS, test=data), model)


def test_sets_are_prepared_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = clustering.cluster_sets
    monkeypatch.setattr(clustering, "cluster_sets", lambda *a: calls.append(1) or real(*a))
    task = quicken(task_with(SETS, test=sets([0, 1] * 9)))
    for layer in range(3):
        run(VectorModel(layer), task)
    assert len(calls) == 1


def test_a_set_of_one_label_is_not_encoded() -> None:
    model = VectorModel()
    run(model, quicken(task_with(SETS, test=sets([1, 1, 1], [0, 1, 0, 1, 0]))))
    assert [len(texts) for *_, texts in model.calls] == [5]


def test_a_model_is_told_what_mteb_tells_it() -> None:
    models = VectorModel(), VectorModel()
    task = loaded_task(SETS)
    for model, one in zip(models, (task, quicken(task)), strict=True):
        run(model, one)
    assert models[0].calls == models[1].calls


@pytest.mark.parametrize("names", [["b", "a", "-1"], [2, -1, 5]], ids=["names", "numbers"])
def test_a_sample_has_mtebs_scores(names: list[Any]) -> None:
    n = 900
    texts = [f"word{i % 31} topic{i % 3}term{i % 12}" for i in range(n)]
    task = task_with(SAMPLE, test={"sentences": texts, "labels": [names[i % 3] for i in range(n)]})
    task.max_documents_per_cluster = 128
    assert_same(task, VectorModel())


def test_paths_of_labels_stay_as_they_are() -> None:
    paths = Dataset.from_dict({"labels": [["a", "b"], ["a"]], "sentences": ["x", "y"]})
    assert with_label_codes(paths, "labels")["labels"] == [["a", "b"], ["a"]]


@given(st.lists(st.text(max_size=3)) | st.lists(st.integers(-5, 5)))
def test_codes_keep_the_order_of_labels_and_tell_them_apart(labels: list[Any]) -> None:
    codes = label_codes(labels)
    assert len({*codes}) == len({*labels})
    by_code = sorted({*zip(codes, labels, strict=True)})
    assert [label for _, label in by_code] == sorted({*labels})


@pytest.mark.parametrize("labels", [["a", "a\0"], [0.5, 1.5], [None, "a"], [[1], [2]]])
def test_labels_that_numpy_takes_otherwise_stay_as_they_are(labels: list[Any]) -> None:
    assert label_codes(labels) is labels
