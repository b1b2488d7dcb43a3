"""Classification: the same draws, fits and metrics, each done once."""

from __future__ import annotations

from typing import Any

import mteb
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from actstore.evaluate.fast import classification, quicken
from actstore.evaluate.fast.classification import classification_metrics
from actstore.evaluate.fast.tables import as_table
from tests.evaluate.fast.small_tasks import GivenVectors, assert_same, loaded_task, run, task_with
from tests.support.mteb_data import VectorModel, leaves, mteb_warnings_ignored

NAME = "Banking77Classification"
MTEB = mteb.get_task("EmotionClassification")
LABELS = st.sampled_from([0, 1, 2, 5, 9])


def rows(n: int, labels: list[Any], start: int = 0) -> dict[str, list[Any]]:
    """Texts of a few words, so that some are the same, with labels in turn."""
    texts = [f"word{i % 7} topic{i % 3}term{i % 5}" for i in range(start, start + n)]
    return {"text": texts, "label": [labels[i % len(labels)] for i in range(n)]}


def splits(labels: list[Any], n: int = 40) -> dict[str, Any]:
    return {
        "train": rows(n, labels),
        "validation": rows(11, labels, 3),
        "test": rows(13, labels, 9),
    }


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [3, 1, 2], ["b", "a", "c"], [10, -1, 7, 7, 7]],
    ids=["two", "numbers", "names", "uneven"],
)
def test_two_splits_have_mtebs_scores(labels: list[Any]) -> None:
    assert_same(task_with(NAME, **splits(labels)), VectorModel())


def test_class_labels_have_mtebs_scores() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["x", "y", "z"])})
    data = {s: Dataset.from_dict(d, features) for s, d in splits([2, 0, 1]).items()}
    assert_same(task_with(NAME, **data), VectorModel())


def test_labels_with_fewer_texts_than_are_drawn_have_mtebs_scores() -> None:
    data = splits([0, 1, 2])
    data["train"]["label"][:3] = [4, 5, 5]
    data["test"]["label"][0] = 6
    assert_same(task_with(NAME, **data), VectorModel())


def test_equal_vectors_have_mtebs_scores() -> None:
    texts = {text for data in splits([0, 1]).values() for text in data["text"]}
    model = GivenVectors({text: np.ones(4, np.float32) for text in texts})
    assert_same(task_with(NAME, **splits([0, 1])), model)


def test_two_labels_that_are_names_fail_as_in_mteb() -> None:
    """Average precision wants to know which of them is the positive one."""
    for task in (task_with(NAME, **splits(["a", "b"])), None):
        subject = task or quicken(task_with(NAME, **splits(["a", "b"])))
        with pytest.raises(ValueError, match="pos_label=1 is not a valid label"):
            run(VectorModel(), subject)


def test_the_hubs_splits_have_mtebs_scores() -> None:
    assert_same(loaded_task("AmazonReviewsClassification", ["validation", "test"]), VectorModel())


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    calls: list[int] = []
    real = getattr(owner, name)

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(1)
        return real(*args, **more)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_the_second_split_uses_the_fits_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    task = quicken(task_with(NAME, **splits([0, 1, 2])))
    fits = count_calls(monkeypatch, LogisticRegression, "fit")
    run(VectorModel(0), task)
    assert len(fits) == task.n_experiments
    run(VectorModel(1), task)
    assert len(fits) == 2 * task.n_experiments


def test_a_single_split_keeps_no_fits() -> None:
    data = splits([0, 1, 2])
    del data["validation"]
    task = quicken(task_with(NAME, **data))
    run(VectorModel(), task)
    assert not task._fits


def test_only_the_fits_of_one_pass_are_kept() -> None:
    task = quicken(task_with(NAME, **splits([0, 1, 2])))
    for layer in range(3):
        run(VectorModel(layer), task)
    assert len(task._fits) == task.n_experiments


def test_rows_are_drawn_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    task = quicken(task_with(NAME, **splits([0, 1, 2])))
    draws = count_calls(monkeypatch, classification, "_draw")
    for layer in range(3):
        run(VectorModel(layer), task)
    assert len(draws) == task.n_experiments


@given(
    st.lists(LABELS, min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_drawn_rows_are_mtebs(labels: list[int], per_label: int, seed: int) -> None:
    data = Dataset.from_dict({"text": ["t"] * len(labels), "label": labels})
    task = mteb.get_task("EmotionClassification")
    task.samples_per_label, task.seed = per_label, seed
    task.dataset, task.data_loaded = {"train": data}, True
    quick = quicken(task)
    order, mine = None, None
    for experiment in range(3):
        _, order, expected = task._undersample_data(data, experiment, order)
        drawn, mine, found = quick._undersample_data(quick.dataset["train"], experiment, mine)
        assert (mine, found) == (order, expected)
        assert drawn.to_list() == data.select(expected).to_list()


def test_an_order_of_somebody_elses_is_shuffled_but_not_kept() -> None:
    table = as_table(Dataset.from_dict(rows(9, [0, 1])))
    task = quicken(task_with(NAME, train=rows(9, [0, 1]), test=rows(9, [0, 1])))
    order = [*range(9)]
    first = task._undersample_data(table, 0, order)[1:]
    assert first == task._undersample_data(table, 0, [*range(9)])[1:]
    assert order == [*range(9)]
    assert [*table._known.values()] == [[]]


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40))
def test_metrics_are_mtebs(pairs: list[tuple[int, int]]) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    with mteb_warnings_ignored():
        try:
            expected = leaves(MTEB._calculate_scores(true, np.array(predicted)))
        except ValueError:  # two labels without a 1, which average precision refuses
            with pytest.raises(ValueError, match="pos_label"):
                classification_metrics(np.array(true), np.array(predicted))
            return
        found = leaves(classification_metrics(np.array(true), np.array(predicted)))
    assert found == expected


@pytest.mark.parametrize("predicted", [np.array(["b", "a", "a"]), np.array(["c", "c", "a"])])
def test_metrics_of_names_are_mtebs(predicted: np.ndarray) -> None:
    true = ["a", "b", "d"]
    with mteb_warnings_ignored():
        expected = leaves(MTEB._calculate_scores(true, predicted))
    assert leaves(classification_metrics(np.array(true), predicted)) == expected


def test_predictions_that_are_no_labels_are_left_to_scikit_learn() -> None:
    quick = quicken(task_with(NAME, **splits([0, 1])))
    with pytest.raises(ValueError, match="mix of"):
        quick._calculate_scores([0, 1, 1], np.array([0.1, 0.7, 0.2]))
