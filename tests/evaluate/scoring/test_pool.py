"""Processes that score: in any number, killed, or on a Dask cluster, they give the same."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from actstore.errors import InvalidInputError, NotAStoreError, WorkerDiedError
from actstore.evaluate import EvaluationRequest, evaluate, plan_evaluation
from actstore.evaluate.scoring.conditions import Conditions
from actstore.evaluate.scoring.pool import ProcessPool
from actstore.store import Store, open_store
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import MODEL, suite_of, vector_store

SUITE = ("Banking77Classification", "AskUbuntuDupQuestions")
TIMES = ("evaluation_time", "evaluation_phases", "date", "at", "evaluation_seconds")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    return vector_store(tmp_path_factory.mktemp("pool"), suite_of(*SUITE))


def request_of(**changes: Any) -> EvaluationRequest:
    return EvaluationRequest(MODEL, "small", poolings=("mean",), **changes)


def units(store: Store) -> Any:
    return plan_evaluation(store, request_of(overwrite=True)).todo


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def written(store: Store) -> dict[str, Any]:
    """Everything evaluation wrote, less the times: mteb's files, and the score table."""
    files = {
        str(path.relative_to(store.results_path)): without_times(json.loads(path.read_text()))
        for path in sorted(store.results_path.rglob("*.json"))
    }
    table = store.scores().drop(columns=["evaluation_seconds"])
    return {**files, "scores": json.loads(table.to_json(orient="records"))}


@pytest.mark.slow
def test_any_number_of_processes_interrupted_or_not_writes_the_same(
    tmp_path: Path, small_hub: SmallHub
) -> None:
    found = []
    for name, runs in {
        "one": [request_of()],
        "resumed": [request_of(layers="1"), request_of(workers=2)],
        "upstream": [request_of(conditions=Conditions(upstream=True))],
        "dask": [request_of(workers=2, dask="local")],
    }.items():
        (tmp_path / name).mkdir()
        fresh = vector_store(tmp_path / name, suite_of(*SUITE))
        for run in runs:
            assert evaluate(fresh, run).failures == ()
        found.append(written(fresh))
    one, resumed, upstream, dask = found
    assert len(one) > len(SUITE)
    assert one == resumed == dask
    assert without(one, "environment") == without(upstream, "environment")


def without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: without(item, name) for key, item in value.items() if key != name}
    return [without(item, name) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_killed_process_costs_its_unit_alone(store: Store) -> None:
    outcomes = []
    with ProcessPool(store.url, Conditions(), 1) as pool:
        for outcome in pool.outcomes(units(store)):
            outcomes.append(outcome)
            if len(outcomes) == 2:
                os.kill(next(iter(pool._members.values())).process.pid or 0, signal.SIGKILL)
    failed = [outcome for outcome in outcomes if outcome.result is None]
    assert len(outcomes) == len(units(store)) == 6
    assert len(failed) == 1
    assert "killed by SIGKILL. Out of memory?" in failed[0].error


@pytest.mark.slow
def test_a_process_that_cannot_start_ends_the_evaluation(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    nothing = cast(str, None)
    with (
        pytest.raises(WorkerDiedError, match=r"ended with 1 before its first unit.*__main__"),
        ProcessPool(nothing, Conditions(), 1) as pool,
    ):
        list(pool.outcomes(units(store)))
    assert "TypeError" in capfd.readouterr().err


@pytest.mark.slow
def test_a_process_that_cannot_open_the_store_says_why(store: Store) -> None:
    with (
        pytest.raises(NotAStoreError, match=r"no/such.zarr is not an actstore store"),
        ProcessPool("no/such.zarr", Conditions(), 1) as pool,
    ):
        list(pool.outcomes(units(store)))


@pytest.mark.slow
def test_an_address_without_a_scheduler_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actstore.dask_pool.pool._CONNECT_SECONDS", 1)
    with pytest.raises(
        InvalidInputError, match=r"No Dask scheduler answers at 'tcp://127.0.0.1:9'"
    ):
        evaluate(store, request_of(overwrite=True, dask="tcp://127.0.0.1:9"))


def test_transformed_states_are_scored_beside_the_stored_ones(
    tmp_path: Path, small_hub: SmallHub
) -> None:
    fresh = vector_store(tmp_path, suite_of("STSBenchmark"))
    request = request_of(transforms=("", "whiten", "mean+center+l2"))
    assert evaluate(fresh, request).evaluated == 7
    table = open_store(fresh.url).scores()
    assert table.groupby("transform")["layer"].apply(list).to_dict() == {
        "": [0, 1, 2],
        "mean0-2+center+l2": [2],
        "whiten": [0, 1, 2],
    }
    at_last_layer = table[table.layer == 2]
    assert at_last_layer["main_score"].nunique() == 3
    folders = {path.parent.name for path in fresh.results_path.rglob("STSBenchmark.json")}
    assert "layer_2__pooling_mean__transform_whiten" in folders
    assert plan_evaluation(fresh, request).todo == ()
