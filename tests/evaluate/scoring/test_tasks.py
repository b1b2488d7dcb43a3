"""Every kind of mteb task, from the store: the same calls, the same data, the same scores."""

from __future__ import annotations

import functools
from typing import Any

import mteb
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskRetrieval

from actstore.evaluate.collection.bundle import thaw
from actstore.evaluate.scoring.encoder import StoreEncoder
from actstore.evaluate.suites import catalogue
from actstore.store import Store
from tests.support.mteb_data import (
    MORE_TASKS,
    TASKS,
    SmallHub,
    VectorModel,
    leaves,
    scores_of,
)
from tests.support.vector_store import MODEL, suite_of, vector_store

ALL = [*TASKS, *MORE_TASKS]
LAYER = 1


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    return vector_store(tmp_path_factory.mktemp("tasks"), suite_of(*ALL))


@functools.cache
def run_directly(store: Store, name: str) -> tuple[VectorModel, Any]:
    """A model that computes its vectors, and its scores on data loaded the usual way.

    mteb loads judgements in an order that changes from load to load (polars' group_by), and the
    last bit of some of its sums with it: they are put in the order that was frozen.
    """
    model, task, frozen = VectorModel(LAYER), loaded_task(name), thawed_task(store, name)
    if isinstance(task, AbsTaskRetrieval):
        data, order = (one.dataset["default"]["test"] for one in (task, frozen))
        data["relevant_docs"] = {q: data["relevant_docs"][q] for q in order["relevant_docs"]}
    return model, scores_of(model, task)


def loaded_task(name: str) -> Any:
    selection = suite_of(name).tasks[0]
    task = catalogue.new_task(name, selection.splits, selection.subsets)
    task.load_data()
    return task


def thawed_task(store: Store, name: str) -> Any:
    bundle = store.task(name)
    selection = suite_of(name).tasks[0]
    shape = bundle.manifest["shape"]
    return thaw(name, shape, bundle.table, selection.splits, selection.subsets)


@pytest.mark.parametrize("name", ALL)
def test_collecting_records_the_calls_that_a_real_model_gets(store: Store, name: str) -> None:
    model, _ = run_directly(store, name)
    calls = store.task(name).calls().to_pylist()
    texts = [store.read_texts(call["rows"]) for call in calls]
    recorded = [
        (call["split"], call["subset"], call["prompt_type"], text)
        for call, text in zip(calls, texts, strict=True)
    ]
    assert recorded == model.calls


@pytest.mark.parametrize("name", ALL)
def test_scores_from_the_store_are_mtebs_own_in_every_leaf(store: Store, name: str) -> None:
    _, expected = run_directly(store, name)
    encoder = StoreEncoder(store, MODEL, checkpoint="main", layer=LAYER, pooling="mean")
    found = scores_of(encoder, thawed_task(store, name))
    assert leaves(found) == leaves(expected)


@pytest.mark.parametrize("name", ALL)
def test_a_thawed_task_has_the_data_that_was_loaded(store: Store, name: str) -> None:
    assert plain(thawed_task(store, name).dataset) == plain(loaded_task(name).dataset)


def plain(value: Any) -> Any:
    """Nested data as plain values; features and the order of splits are part of them."""
    if isinstance(value, Dataset):
        return value.features, value.to_list()
    if isinstance(value, DatasetDict):
        return [(split, plain(data)) for split, data in value.items()]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def test_class_names_survive_freezing(store: Store) -> None:
    features = thawed_task(store, "Banking77Classification").dataset["test"].features
    assert features["label"].names == ["topic 0", "topic 1", "topic 2", "topic 3"]


def test_tasks_of_all_types_are_tried() -> None:
    types = {mteb.get_task(name).metadata.type for name in ALL}
    assert types == {
        "Classification",
        "MultilabelClassification",
        "Clustering",
        "PairClassification",
        "STS",
        "Reranking",
        "Retrieval",
        "Summarization",
        "BitextMining",
    }
