"""Which tasks are quickened, and that all of their scores stay."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import mteb
import pytest
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.abstasks.text.summarization import AbsTaskSummarization

from actstore.evaluate.fast import KNOWN_MTEB, quicken
from tests.evaluate.fast.small_tasks import loaded_task, run
from tests.support.mteb_data import MORE_TASKS, TASKS, VectorModel

ALL = [*TASKS, *MORE_TASKS]
MODULE = importlib.import_module("actstore.evaluate.fast.quicken")
NAME = "EmotionClassification"
OTHER_TYPES = (AbsTaskRetrieval, AbsTaskBitextMining, AbsTaskSummarization)
OF_KNOWN_TYPES = [name for name in ALL if not isinstance(mteb.get_task(name), OTHER_TYPES)]


@functools.cache
def loaded(name: str) -> Any:
    return loaded_task(name)


@pytest.mark.parametrize("name", OF_KNOWN_TYPES)
def test_every_leaf_is_mtebs_own_whatever_layer_came_before(name: str) -> None:
    task = quicken(loaded(name))
    before, found = (run(VectorModel(layer), task) for layer in (1, 0))
    assert found == run(VectorModel(0), loaded(name))
    assert found != before


def test_all_tasks_of_known_types_are_quickened() -> None:
    assert all(quicken(loaded(name)) is not loaded(name) for name in OF_KNOWN_TYPES)


def test_reranking_is_quickened_with_the_rest() -> None:
    assert quicken(loaded("SciDocsRR")) is not loaded("SciDocsRR")


def test_the_task_given_stays_as_it_is() -> None:
    task = loaded_task(NAME)
    kind, data, state = type(task), task.dataset, task.np_rng.bit_generator.state
    quick = quicken(task)
    quick.np_rng.random()
    run(VectorModel(), quick)
    assert (type(task), task.np_rng.bit_generator.state) == (kind, state)
    assert task.dataset is data
    assert type(data["train"]).__name__ == "Dataset"


def test_a_quickened_task_goes_by_the_same_name() -> None:
    quick = quicken(loaded(NAME))
    assert isinstance(quick, type(loaded(NAME)))
    assert type(quick).__name__ == type(loaded(NAME)).__name__


def test_with_an_unknown_version_of_mteb_a_task_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MODULE, "_mteb_version", lambda: "9.0.0")
    assert quicken(loaded(NAME)) is loaded(NAME)


def test_the_installed_version_is_known() -> None:
    assert mteb.__version__ in KNOWN_MTEB


@pytest.mark.parametrize("method", ["_evaluate_subset", "_calculate_scores", "evaluate"])
def test_a_task_with_a_method_of_its_own_is_left_alone(method: str) -> None:
    task = loaded_task(NAME)
    kind = type(task)
    own = {method: lambda self, *args, **more: getattr(kind, method)(self, *args, **more)}
    task.__class__ = type(kind.__name__, (kind,), own)
    assert quicken(task) is task


def test_a_task_object_with_a_method_of_its_own_is_left_alone() -> None:
    task = loaded_task(NAME)
    task._calculate_scores = lambda *_: {"accuracy": 1.0}
    assert quicken(task) is task


def test_with_a_patched_mteb_a_task_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AbsTaskClassification, "_calculate_scores", lambda *_: {"accuracy": 1.0})
    assert quicken(loaded(NAME)) is loaded(NAME)


def test_a_task_without_its_data_is_left_alone() -> None:
    task = loaded_task(NAME)
    task.data_loaded = False
    assert quicken(task) is task


def test_quickening_twice_changes_nothing_more() -> None:
    quick = quicken(loaded(NAME))
    assert quicken(quick) is quick
