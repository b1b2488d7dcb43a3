"""Evaluating stored layers: a pool of processes scores, the parent writes.

No model is loaded. mteb's files for one folder are not safe to write from several processes, so
only the parent does.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from actstore.errors import ActstoreError
from actstore.evaluate.scoring.planning import EvaluationRequest, plan_evaluation
from actstore.evaluate.scoring.scores import save_result
from actstore.evaluate.scoring.worker import (
    Unit,
    UnitOutcome,
    evaluate_in_worker,
    start_worker,
    worker_environment,
)
from actstore.progress import progress
from actstore.store import Store


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
    """Score a suite on stored layers; results are in `store.scores()` and `store.results_path`.

    What is scored is stored at once, so an interrupted evaluation goes on where it stopped. A unit
    that fails is reported and the rest goes on. Raises what `plan_evaluation` raises, before
    anything starts, and ActstoreError where a process is killed.
    """
    began = time.monotonic()
    plan = plan_evaluation(store, request)
    failures = []
    with progress(f"Evaluating {plan.suite.name}", len(plan.todo), "score") as advance:
        for outcome in _outcomes(store.url, plan.todo, request.workers):
            if outcome.result is None:
                failures.append(UnitFailure(str(outcome.unit), outcome.error, outcome.trace))
            else:
                save_result(store, outcome.unit, outcome.result)
            advance(1)
    return EvaluationReport(
        suite=plan.suite.name,
        evaluated=len(plan.todo) - len(failures),
        skipped=plan.skipped,
        failures=tuple(failures),
        seconds=time.monotonic() - began,
    )


def _outcomes(store_url: str, units: Sequence[Unit], workers: int) -> Iterator[UnitOutcome]:
    """The outcome of every unit, as they come."""
    if not units:
        return
    with _pool(store_url, min(workers, len(units))) as pool:
        # as_completed lets go of a future once it is given; a list kept here would hold them all.
        coming = as_completed([pool.submit(evaluate_in_worker, unit) for unit in units])
        for done, future in enumerate(coming):
            yield _outcome(future, len(units) - done)


def _outcome(future: Future[UnitOutcome], left: int) -> UnitOutcome:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ActstoreError(
            f"An evaluation process died with {left} scores to go; what is scored is kept. It was "
            "killed or ran out of memory: run the same again with fewer workers. In a script of "
            'your own, call evaluate under `if __name__ == "__main__":`.'
        ) from error


@contextmanager
def _pool(store_url: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh single-threaded processes, which ends with this block whatever happens."""
    strangers = {child.pid for child in multiprocessing.active_children()}
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(store_url,),
    )
    try:
        with worker_environment():
            yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child.pid not in strangers:
                child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
