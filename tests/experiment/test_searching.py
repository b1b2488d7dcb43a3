"""Searches that act on a store: what they extract and score, where they end, and going on."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actstore.errors import InvalidInputError, MissingShardsError, StoppedError, UnknownNameError
from actstore.experiment.load import load_experiment
from actstore.experiment.run import run_experiment
from actstore.experiment.searching import SearchRequest, SearchState, propose, run_search
from actstore.experiment.told_scores import told_scores
from actstore.stopping import stop_on_signals
from actstore.store import Store, open_store
from tests.experiment.conftest import CHECKPOINTS, TASKS, Write

N_ALL = len(TASKS) * len(CHECKPOINTS) * 4

pytestmark = pytest.mark.usefixtures("small_hub")


@pytest.fixture
def collected(write: Write) -> Store:
    """A store with the tasks and no states; the model lies beside it."""
    experiment = load_experiment(write())
    run_experiment(experiment, ["collect"])
    return open_store(experiment.store)


def request(store: Store) -> SearchRequest:
    return SearchRequest(
        model=str(store.path.parent / "neox"),
        suite=",".join(TASKS),
        checkpoints=CHECKPOINTS,
        pooling="mean",
        extraction_cost=0.5,
        devices="cpu",
    )


def order_of(store: Store) -> list[tuple[object, ...]]:
    from actstore.evaluate import resolve_suite

    told = told_scores(store, "neox", "mean", resolve_suite(",".join(TASKS), store))
    return list(told[["checkpoint", "layer", "task"]].itertuples(index=False, name=None))


def best_of_all(store: Store) -> float:
    """Of all layers of all checkpoints, each scored on every task."""
    from actstore.evaluate import EvaluationRequest, evaluate

    evaluate(store, EvaluationRequest("neox", TASKS, poolings=("mean",)))
    return float(store.suite_scores(",".join(TASKS))["mean"].max())


def mean_at(store: Store, state: SearchState) -> float:
    table = store.suite_scores(",".join(TASKS))
    here = (table["checkpoint"] == state.checkpoint) & (table["layer"] == state.layer)
    return float(table.loc[here, "mean"].item())


@pytest.mark.slow
def test_a_search_extracts_and_scores_what_it_needs_and_finds_the_best(collected: Store) -> None:
    seen: list[SearchState] = []
    state = run_search(collected, replace(request(collected), batch=4), seen.append)
    assert state.ended in ("confident", "everything scored")
    assert seen[0].n_scores == 0
    assert sum(len(one.tasks) for one in seen[0].next) == 5 * len(TASKS)
    assert [one.n_scores for one in seen] == sorted(one.n_scores for one in seen)
    assert collected.checkpoints("neox")
    assert len(order_of(collected)) == state.n_scores <= state.n_all == N_ALL
    again = run_search(collected, replace(request(collected), batch=4))
    assert (again.checkpoint, again.layer, again.n_scores) == (
        state.checkpoint,
        state.layer,
        state.n_scores,
    )
    assert mean_at(collected, state) >= best_of_all(collected) - 0.003


@pytest.mark.slow
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(
    collected: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(request(collected), budget=13, confidence=1.0)
    record_scores = Store.record_scores

    def signalled(store: Store, records: Any) -> None:
        record_scores(store, records)
        if len(order_of(store)) in (3, 11):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "record_scores", signalled)
        for n_scores in (3, 11):
            with pytest.raises(StoppedError), stop_on_signals():
                run_search(collected, asked)
            assert len(order_of(collected)) == n_scores

    def as_one_that_begins_now(state: SearchState) -> None:
        assert propose(collected, asked) == state

    state = run_search(collected, asked, as_one_that_begins_now)
    assert (state.ended, state.n_scores) == ("budget", 13)
    assert len(collected.scores()) == len(set(order_of(collected))) == 13


def test_proposing_does_nothing_to_the_store(collected: Store) -> None:
    state = propose(collected, request(collected))
    assert state.n_scores == 0
    assert len(state.next) == 5
    assert "neox" not in collected.models()
    assert collected.scores().empty


def test_a_budget_counts_what_was_there_and_is_never_exceeded(collected: Store) -> None:
    first = run_search(collected, replace(request(collected), budget=3))
    assert (first.ended, first.n_scores, first.next) == ("budget", 3, ())
    assert propose(collected, replace(request(collected), budget=3)).ended == "budget"
    assert propose(collected, replace(request(collected), budget=4)).next != ()


def test_z_scores_begin_with_the_layers_of_the_final_checkpoint(collected: Store) -> None:
    state = propose(collected, replace(request(collected), objective="zscore"))
    assert {place.checkpoint for place in state.next} == {"step20"}
    assert sum(len(place.tasks) for place in state.next) == 4 * len(TASKS)
    with pytest.raises(InvalidInputError, match="budget of 0 is spent"):
        propose(collected, replace(request(collected), objective="zscore", budget=0))


def test_one_task_is_an_objective_of_its_own(collected: Store) -> None:
    state = propose(collected, replace(request(collected), objective=TASKS[1]))
    assert {task for place in state.next for task in place.tasks} == {TASKS[1]}
    with pytest.raises(UnknownNameError, match="STS99"):
        propose(collected, replace(request(collected), objective="STS99"))


def test_what_is_missing_is_told_before_anything_runs(collected: Store) -> None:
    asked = request(collected)
    with pytest.raises(MissingShardsError, match="not collected STS17.*actstore collect"):
        propose(collected, replace(asked, suite="STSBenchmark,STS17"))
    with pytest.raises(MissingShardsError, match="holds no states of .*--checkpoints"):
        propose(collected, replace(asked, checkpoints=()))
    with pytest.raises(UnknownNameError, match="step11"):
        propose(collected, replace(asked, checkpoints=("step0", "step11")))


def test_the_command_says_what_it_would_score_next(
    collected: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from actstore.cli import app

    where = str(collected.path)
    model = str(Path(where).parent / "neox")
    options = ["--suite", ",".join(TASKS), "--model", model, "--checkpoints", "step0,step10,step20"]
    app(["search", where, *options, "--propose-only"], standalone_mode=False)
    said = capsys.readouterr().out
    assert f"{N_ALL} scores in the whole grid" in said
    assert "2 tasks at step" in said
