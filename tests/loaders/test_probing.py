"""Probes: labels of tasks and tables, split so that no text is on both sides in any disguise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from actstore.errors import InvalidInputError, UnknownNameError, UnknownTextError
from actstore.loaders import LabelledTexts, labelled_texts, load_probe, task_texts
from actstore.store import Store, create_store
from tests.support.mteb_data import use_small_hub
from tests.support.vector_store import MODEL, add_states, suite_of, vector_store

TASKS = (
    "Banking77Classification",
    "CataloniaTweetClassification",
    "CEDRClassification",
    "MassiveIntentClassification",
    "STSBenchmark",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        use_small_hub(patch)
        yield vector_store(tmp_path_factory.mktemp("probing"), suite_of(*TASKS))


def stored(folder: Path, texts: list[str]) -> Store:
    store = create_store(folder / "texts.zarr")
    store.add_texts(texts)
    add_states(store, "main", 0)
    return store


def require_apart(texts: LabelledTexts) -> None:
    for train, test in [(texts.train, texts.test), *texts.folds(4)]:
        assert not set(texts.groups[train]) & set(texts.groups[test])
        assert not set(texts.rows[train]) & set(texts.rows[test])


def test_a_linear_probe_beats_chance(store: Store) -> None:
    probe = load_probe(store, "Banking77Classification", checkpoint="main", layer=1)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    linear.fit(probe.X[probe.train], probe.y[probe.train])
    chance = np.bincount(probe.y[probe.test]).max() / len(probe.test)
    assert linear.score(probe.X[probe.test], probe.y[probe.test]) > chance + 0.2
    assert cross_val_score(linear, probe.X, probe.y, cv=probe.folds(4)).mean() > chance + 0.1


def test_a_task_s_states_and_labels_belong_together(store: Store) -> None:
    probe = load_probe(store, "Banking77Classification", checkpoint="main", layer=2)
    bundle = store.task("Banking77Classification")
    for part, table in ((probe.train, "000-train"), (probe.test, "002-test")):
        frame = bundle.table(table).to_pandas()
        labelled = set(zip(frame["text"], frame["label"], strict=True))
        texts = store.read_texts(probe.rows[part])
        assert set(zip(texts, probe.y[part], strict=True)) <= labelled
    assert len(probe.test) == 24
    states = store.embeddings(MODEL, checkpoint="main", layer=2, rows=probe.rows)
    np.testing.assert_array_equal(probe.X, states)
    assert probe.classes == ("topic 0", "topic 1", "topic 2", "topic 3")


def test_a_task_s_texts_are_apart_and_what_is_left_out_is_counted(store: Store) -> None:
    for task in ("Banking77Classification", "MassiveIntentClassification"):
        texts = task_texts(store, task)
        require_apart(texts)
        assert texts.left_out is not None
        n_texts = sum(store.task(task).table(t).num_rows for t in _tables(store, task))
        assert len(texts.train) + len(texts.test) + sum(texts.left_out.values()) == n_texts


def _tables(store: Store, task: str) -> list[str]:
    return [name for name in store.task(task).files if name.endswith(("train", "test"))]


def test_a_split_must_be_chosen_where_there_are_several(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="validation, test.*split="):
        task_texts(store, "CataloniaTweetClassification")
    some = task_texts(store, "CataloniaTweetClassification", split="validation")
    assert len(some.test) == 16
    with pytest.raises(UnknownNameError, match="split"):
        task_texts(store, "CataloniaTweetClassification", split="dev")


def test_tasks_without_one_label_a_text_are_refused(store: Store) -> None:
    for task in ("STSBenchmark", "CEDRClassification"):
        with pytest.raises(InvalidInputError, match="Give a table"):
            load_probe(store, task, checkpoint="main", layer=0)


def test_disguised_duplicates_do_not_leak(tmp_path: Path) -> None:
    """Labels are coins: a nearest neighbour is right by chance, unless it meets a twin."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 5)) for _ in range(400)]
    sources = [" ".join(rng.choice(words, 6)) for _ in range(150)]
    twins = [text.upper() + "!" for text in sources]
    again = [text.replace(" ", ",  ") for text in sources]
    store = stored(tmp_path, [*sources, *twins, *again])
    labels = rng.integers(0, 2, 150)
    frame = pd.DataFrame({"text": [*sources, *twins, *again], "label": np.tile(labels, 3)})
    probe = load_probe(store, frame, checkpoint="main", layer=0)
    require_apart(probe)
    assert len(np.unique(probe.groups)) == 150

    twin = probe.X.copy()  # states as a model that sees through the disguise would have
    twin[150:300] = twin[300:] = twin[:150]
    nearest = KNeighborsClassifier(1)
    honest = cross_val_score(nearest, twin, probe.y, cv=probe.folds(5)).mean()
    leaking = cross_val_score(nearest, twin, probe.y, cv=5).mean()
    assert leaking > 0.95
    assert abs(honest - 0.5) < 0.15


def test_views_and_given_groups_stay_with_their_source(tmp_path: Path) -> None:
    texts = [f"{word} number {i}" for i in range(20) for word in ("one", "two")]
    store = stored(tmp_path, texts)
    views = store.add_views("drop", [0, 2], [["number zero", "zero one"], ["x", "y"]])
    rows = np.concatenate([np.arange(40), views.rows.ravel()])
    frame = pd.DataFrame({"row": rows, "label": rows % 2, "group": [*range(40), *"abcd"]})
    frame.loc[10:12, "group"] = "document"
    groups = labelled_texts(store, frame).groups
    assert len(set(groups[[0, 40, 41]])) == 1
    assert len(set(groups[[2, 42, 43]])) == 1
    assert len(set(groups[10:13])) == 1
    assert len(np.unique(groups)) == 44 - 2 - 2 - 2


def test_the_same_labels_serve_every_layer(store: Store) -> None:
    texts = task_texts(store, "Banking77Classification")
    probes = [load_probe(store, texts, checkpoint="main", layer=layer) for layer in range(3)]
    assert all(probe.test is texts.test for probe in probes)
    assert not np.array_equal(probes[0].X, probes[1].X)


def test_numbers_as_labels_are_split_without_strata(tmp_path: Path) -> None:
    store = stored(tmp_path, [f"word{i}" for i in range(30)])
    frame = pd.DataFrame({"row": range(30), "label": np.linspace(0, 1, 30)})
    require_apart(labelled_texts(store, frame))


def test_tables_that_are_none_are_refused(tmp_path: Path) -> None:
    store = stored(tmp_path, ["a", "b", "c"])
    with pytest.raises(InvalidInputError, match="row or text"):
        labelled_texts(store, pd.DataFrame({"label": [1]}))
    with pytest.raises(InvalidInputError, match="1 of 2 lines"):
        labelled_texts(store, pd.DataFrame({"text": ["a", None], "label": [1, 2]}))
    with pytest.raises(UnknownTextError):
        labelled_texts(store, pd.DataFrame({"text": ["nowhere"], "label": [1]}))
    with pytest.raises(UnknownTextError):
        labelled_texts(store, pd.DataFrame({"row": [99], "label": [1]}))
    with pytest.raises(InvalidInputError, match="2 groups .*fewer"):
        labelled_texts(store, pd.DataFrame({"text": ["a", "b"], "label": [1, 2]}))
