"""Several labels a text."""

from __future__ import annotations

import mteb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from actstore.evaluate.fast import quicken
from actstore.evaluate.fast.multilabel import ranking_precision
from tests.evaluate.fast.small_tasks import assert_same, loaded_task, task_with
from tests.support.mteb_data import VectorModel, leaves, mteb_warnings_ignored

NAME = "CEDRClassification"


@st.composite
def label_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.integers(1, 25)), draw(st.integers(2, 20))
    rows = arrays(np.int64, shape, elements=st.integers(0, 1))
    return draw(rows), draw(rows)


@given(label_rows())
def test_ranking_precision_is_scikit_learns(rows: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = rows
    assert ranking_precision(true, predicted) == label_ranking_average_precision_score(
        true, predicted
    )


@pytest.mark.parametrize("n_test", [1, 30])
def test_labels_of_all_kinds_have_mtebs_scores(n_test: int) -> None:
    labels = [[0], [1, 2], [], [0, 1, 2], [2]]
    texts = [f"word{i % 9} topic{i % 4}term{i % 5}" for i in range(60)]
    train = {"text": texts, "label": [labels[i % 5] for i in range(60)]}
    test = {"text": texts[:n_test], "label": [labels[(i + 1) % 5] for i in range(n_test)]}
    assert_same(task_with(NAME, train=train, test=test), VectorModel())


def test_another_classifier_is_left_to_mteb() -> None:
    class Doubtful(KNeighborsClassifier):
        def score(self, *_: object, **__: object) -> float:
            return 0.125

    task = loaded_task(NAME)
    rows = np.array([[1, 0], [0, 1]])
    vectors = np.eye(2)
    classifier = Doubtful(1).fit(vectors, rows)
    found, expected = (
        one._calculate_scores(rows, rows, vectors, classifier) for one in (quicken(task), task)
    )
    assert found == expected
    assert found["accuracy"] == 0.125


def test_scores_that_are_no_labels_are_left_to_mteb() -> None:
    classifier = KNeighborsClassifier(1).fit(np.eye(2), np.array([[1, 0], [0, 1]]))
    quick = quicken(loaded_task(NAME))
    true, predicted = np.array([[1, 0], [1, 1]]), np.array([[1, 2], [0, 1]])
    with pytest.raises(ValueError, match="mix of"), mteb_warnings_ignored():
        quick._calculate_scores(true, predicted, np.eye(2), classifier)


def test_metrics_are_mtebs_for_a_classifier_of_neighbours() -> None:
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(40, 3)), random.integers(0, 2, (40, 12))
    classifier = KNeighborsClassifier(5).fit(vectors, labels)
    predicted = classifier.predict(vectors)
    found, expected = (
        leaves(task._calculate_scores(labels, predicted, vectors, classifier))
        for task in (quicken(loaded_task(NAME)), mteb.get_task(NAME))
    )
    assert found == expected
