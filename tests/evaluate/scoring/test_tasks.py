"""Every kind of mteb task, from the store: the same calls, the same data, the same scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mteb
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskRetrieval

from actstore.evaluate import SUITES
from actstore.evaluate.collection.bundle import thaw
from actstore.evaluate.collection.collect import collect_task
from actstore.evaluate.fast import quicken
from actstore.evaluate.scoring.encoder import StoreEncoder
from actstore.evaluate.suites import catalogue
from actstore.store import Store
from tests.support.mteb_data import (
    MORE_TASKS,
    TASKS,
    SmallHub,
    VectorModel,
    Writer,
    leaves,
    scores_of,
)
from tests.support.vector_store import MODEL, add_states, suite_of, vector_store

ALL = [*TASKS, *MORE_TASKS]
DTYPES = ["float32", "float16"]
LAYER = 1
WAYS: list[tuple[str, Callable[[AbsTask], AbsTask]]] = [
    ("float32", lambda task: task),
    ("float32", quicken),
    ("float16", quicken),
]
"""Dtypes of states, and what is done to a task before it is evaluated."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    """All tasks and the states of them, of a checkpoint in float32 and of one in float16."""
    new = vector_store(tmp_path_factory.mktemp("tasks"), suite_of(*ALL), checkpoints=())
    for dtype in DTYPES:
        add_states(new, dtype, 0, dtype)
    return new


@functools.cache
def run_directly(store: Store, name: str, dtype: str) -> tuple[VectorModel, Any]:
    """A model that computes its vectors, and its scores on data loaded the usual way.

    mteb loads judgements in an order that changes from load to load (polars' group_by), and the
    last bit of some of its sums with it: they are put in the order that was frozen.
    """
    model, task, frozen = VectorModel(LAYER, dtype), loaded_task(name), thawed_task(store, name)
    if isinstance(task, AbsTaskRetrieval):
        for subset, splits in task.dataset.items():
            for split, data in splits.items():
                order = frozen.dataset[subset][split]["relevant_docs"]
                data["relevant_docs"] = {query: data["relevant_docs"][query] for query in order}
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
    model, _ = run_directly(store, name, "float32")
    calls = store.task(name).calls().to_pylist()
    texts = [store.read_texts(call["rows"]) for call in calls]
    recorded = [
        (call["split"], call["subset"], call["prompt_type"], text)
        for call, text in zip(calls, texts, strict=True)
    ]
    assert recorded == model.calls


@pytest.mark.parametrize(("dtype", "prepare"), WAYS, ids=["float32", "quick", "quick float16"])
@pytest.mark.parametrize("name", ALL)
def test_scores_from_the_store_are_mtebs_own_in_every_leaf(
    store: Store, name: str, dtype: str, prepare: Callable[[AbsTask], AbsTask]
) -> None:
    """Of a model that gives the vectors rounded to the store's dtype, run in mteb's own way."""
    _, expected = run_directly(store, name, dtype)
    encoder = StoreEncoder(store, MODEL, checkpoint=dtype, layer=LAYER, pooling="mean")
    found = scores_of(encoder, prepare(thawed_task(store, name)))
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


@pytest.mark.parametrize("name", ALL)
def test_scores_of_the_small_data_are_neither_chance_nor_perfect(store: Store, name: str) -> None:
    """Otherwise scores would be equal whatever is compared."""
    _, scores = run_directly(store, name, "float32")
    assert all(0 < abs(entry["main_score"]) < 1 for found in scores.values() for entry in found)


def test_class_names_survive_freezing(store: Store) -> None:
    features = thawed_task(store, "Banking77Classification").dataset["test"].features
    assert features["label"].names == ["topic 0", "topic 1", "topic 2", "topic 3"]


def test_a_sample_that_a_task_draws_from_its_data_is_what_is_stored(
    small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Writer(0)
    sizes = {"train": 80, "test": 2300}
    splits = {split: Dataset.from_dict(write.labelled(n, 2)) for split, n in sizes.items()}
    path = "mteb/toxic_conversations_50k"
    monkeypatch.setitem(small_hub.data, path, {"default": DatasetDict(splits)})
    collected = collect_task(suite_of("ToxicConversationsClassification").tasks[0])
    drawn = loaded_task("ToxicConversationsClassification").dataset["test"]
    assert len(drawn) == 2048
    assert collected.calls[-1].texts == (*drawn["text"],)


def test_the_paper_s_tasks_are_tried_as_its_suite_has_them() -> None:
    suite = SUITES["layer-by-layer"]()
    assert {task.name: task for task in suite.tasks} == {
        task.name: task for task in suite_of(*TASKS).tasks
    }


def test_tasks_of_all_types_are_tried() -> None:
    types = {mteb.get_task(name).metadata.type for name in ALL}
    assert types == {
        "Classification",
        "MultilabelClassification",
        "Regression",
        "Clustering",
        "PairClassification",
        "STS",
        "Reranking",
        "Retrieval",
        "InstructionRetrieval",
        "Summarization",
        "BitextMining",
    }
