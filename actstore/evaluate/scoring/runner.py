"""Evaluating stored layers: processes or a cluster score, this process writes.

No model is loaded. mteb's files for one folder are not safe to write from several processes, so
only the parent does, and shares of one evaluation take turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from actstore.dask_pool.places import DaskPlace
from actstore.evaluate.scoring.planning import EvaluationRequest, plan_evaluation
from actstore.evaluate.scoring.pool import ProcessPool
from actstore.evaluate.scoring.scores import save_failure, save_result
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.progress import progress
from actstore.shares import Share
from actstore.store import Json, Store
from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Leases
from actstore.store.sharing.sweeping import sweep

_TURN_SECONDS = 60.0
"""A process that is killed while it writes delays the others for so long at most."""


@dataclass(frozen=True)
class UnitFailure:
    """A unit that could not be scored."""

    unit: str
    error: str
    trace: str


@dataclass(frozen=True)
class EvaluationReport:
    """What one evaluation did."""

    suite: str
    evaluated: int
    """Units: a task at one checkpoint, layer and pooling."""
    skipped: int
    """Scored before, on the same data and states."""
    failures: tuple[UnitFailure, ...]
    seconds: float


def evaluate(store: Store, request: EvaluationRequest) -> EvaluationReport:
    """Score a suite on stored layers; results are in `store.scores()` and in mteb's own files.

    What is scored is stored at once, so an interrupted evaluation goes on where it stopped. A unit
    that fails, or whose process is killed, is recorded and the rest goes on. Raises what
    `plan_evaluation` raises, before anything starts, and WorkerDiedError where no process starts.
    """
    began = time.monotonic()
    plan = plan_evaluation(store, request)
    log = RunLog(store.storage, command=sys.argv, settings=_settings(request, len(plan.todo)))
    sweep(store.storage)
    failures = []
    with (
        _scoring(store, plan.todo, request) as outcomes,
        progress(f"Evaluating {plan.suite.name}", len(plan.todo), "score") as advance,
        _turns(store, request.share) as my_turn_at,
    ):
        for outcome in outcomes:
            if outcome.result is None:
                save_failure(store, outcome)
                failures.append(UnitFailure(str(outcome.unit), outcome.error, outcome.trace))
            else:
                with my_turn_at(outcome.unit):
                    save_result(store, outcome.unit, outcome.result, request.conditions)
            advance(1)
    log.event("finished", scored=len(plan.todo) - len(failures), failed=len(failures))
    return EvaluationReport(
        suite=plan.suite.name,
        evaluated=len(plan.todo) - len(failures),
        skipped=plan.skipped,
        failures=tuple(failures),
        seconds=time.monotonic() - began,
    )


@contextmanager
def _scoring(
    store: Store, units: Sequence[Unit], request: EvaluationRequest
) -> Iterator[Iterator[UnitOutcome]]:
    """The outcome of every unit, as they come; the processes that score end with the block."""
    if not units:
        yield iter(())
    elif request.dask is not None:
        from actstore.evaluate.scoring.cluster import scoring_on_dask

        place = DaskPlace(request.dask, request.workers, request.worker_jobs)
        with scoring_on_dask(place, store.absolute_url, request.conditions, units) as outcomes:
            yield outcomes
    else:
        with ProcessPool(store.absolute_url, request.conditions, request.workers) as pool:
            yield pool.outcomes(units)


@contextmanager
def _turns(
    store: Store, share: Share | None
) -> Iterator[Callable[[Unit], AbstractContextManager[object]]]:
    """Holds what other shares write too, while a unit is saved: a file of all tasks' settings."""
    if share is None:
        yield lambda unit: nullcontext()
        return
    with Leases(store.storage, seconds=_TURN_SECONDS) as leases:
        yield lambda unit: leases.alone("/".join(["mteb", *map(str, unit.key[:-1])]))


def _settings(request: EvaluationRequest, n_units: int) -> dict[str, Json]:
    """What the run log keeps of a request."""
    suite = request.suite if isinstance(request.suite, str) else "chosen tasks"
    return {
        "model": request.model,
        "suite": suite,
        "checkpoints": [*request.checkpoints],
        "layers": request.layers,
        "poolings": [*request.poolings],
        "transforms": [*request.transforms],
        "workers": request.workers,
        "dask": request.dask,
        "conditions": request.conditions.to_json(),
        "share": None if request.share is None else str(request.share),
        "units": n_units,
    }
