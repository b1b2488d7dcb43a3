"""Evaluations in shares, as a SLURM array runs them: each unit once, whenever a share begins."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from actstore.evaluate import EvaluationRequest, evaluate, plan_evaluation
from actstore.evaluate.scoring.unit import Unit
from actstore.shares import Share
from actstore.store import Store, open_store
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import MODEL, N_LAYERS, suite_of, vector_store

CHECKPOINTS = ("step1", "step2", "step4")
TASKS = ("STS17", "SICK-R")


@pytest.fixture
def store(tmp_path: Path, small_hub: SmallHub) -> Store:
    return vector_store(tmp_path, suite_of(*TASKS), checkpoints=CHECKPOINTS)


def request_of(index: int, of: int) -> EvaluationRequest:
    return EvaluationRequest(MODEL, "small", poolings=("mean",), share=Share(index, of))


@pytest.mark.parametrize("of", [1, 2, 5, 30])
def test_every_unit_belongs_to_one_share(store: Store, of: int) -> None:
    whole = plan_evaluation(store, EvaluationRequest(MODEL, "small", poolings=("mean",))).todo
    parts = [plan_evaluation(store, request_of(index, of)).todo for index in range(of)]
    units = [unit.key for part in parts for unit in part]
    assert sorted(units) == sorted(unit.key for unit in whole)
    assert len(units) == len(set(units)) == len(TASKS) * len(CHECKPOINTS) * N_LAYERS


def test_a_share_is_of_neighbouring_checkpoints_the_same_for_every_task(store: Store) -> None:
    for index, checkpoint in enumerate(CHECKPOINTS):
        todo = plan_evaluation(store, request_of(index, 3)).todo
        n_here = sum(unit.checkpoint == checkpoint for unit in todo)
        assert n_here >= len(todo) - len(TASKS)
        assert _tasks(todo) == [*TASKS]


@pytest.mark.slow
def test_a_share_that_begins_after_another_ended_leaves_nothing_out(store: Store) -> None:
    first = evaluate(store, request_of(0, 2))
    second = evaluate(store, request_of(1, 2))
    assert first.evaluated + second.evaluated == len(store.scores())
    assert len(store.scores()) == len(TASKS) * len(CHECKPOINTS) * N_LAYERS
    again = evaluate(store, request_of(0, 2))
    assert (again.evaluated, again.skipped) == (0, first.evaluated)


def test_a_share_of_nothing_succeeds(store: Store) -> None:
    reports = [evaluate(store, request_of(index, 30)) for index in (0, 5)]
    assert all((report.evaluated, report.failures) == (0, ()) for report in reports)


@pytest.mark.slow
def test_shares_side_by_side_keep_each_others_mteb_files(store: Store) -> None:
    spawn = multiprocessing.get_context("spawn")
    url = str(store.path)
    processes = [spawn.Process(target=_evaluate, args=(url, index)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(store.scores()) == len(TASKS) * len(CHECKPOINTS) * N_LAYERS
    settings = [*store.results_path.rglob("run_settings.jsonl")]
    assert len(settings) == len(CHECKPOINTS) * N_LAYERS
    for file in settings:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert sorted({line["task"] for line in lines}) == sorted(TASKS)


def _evaluate(url: str, index: int) -> None:
    evaluate(open_store(url), request_of(index, 2))


def _tasks(units: tuple[Unit, ...]) -> list[str]:
    return [*dict.fromkeys(unit.task.name for unit in units)]
