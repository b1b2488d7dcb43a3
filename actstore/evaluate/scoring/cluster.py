"""Scoring units on Dask workers: here, in SLURM jobs, or at a scheduler that runs already."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Any

from actstore.dask_pool.places import DaskPlace, WorkerNeeds
from actstore.dask_pool.pool import DaskPool, dask_pool, error_of
from actstore.evaluate.scoring.conditions import SCORING, Conditions, process_environment
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.evaluate.scoring.worker import Evaluator
from actstore.store import open_store

_BATCHES_PER_WORKER = 4
_LARGEST_BATCH = 32
"""Units: what a lost worker or a stop costs at most, and enough that sending them is nothing."""
_alone = threading.Lock()
"""mteb's random generators are the process's: threads of one worker score one after the other."""


@contextmanager
def scoring_on_dask(
    place: DaskPlace, store: str, conditions: Conditions, units: Sequence[Unit]
) -> Iterator[Iterator[UnitOutcome]]:
    """The outcome of every unit, as batches of one task come back; workers end with the block.

    What a lost worker was at runs again elsewhere; a batch that loses several fails. Raises as
    `dask_pool` does, InvalidInputError for workers that have not the versions scores depend on.
    """
    needs = WorkerNeeds(store, SCORING, conditions.threads, process_environment(conditions))
    with dask_pool(place, needs) as pool:
        yield _outcomes(pool, store, conditions, units)


def _outcomes(
    pool: DaskPool, store: str, conditions: Conditions, units: Sequence[Unit]
) -> Iterator[UnitOutcome]:
    def start(client: Any, batch: Sequence[Unit]) -> Any:
        return client.submit(_score, store, conditions, batch, pure=False)

    for batch, future in pool.results(batches(units, pool.count()), start):
        yield from found_by(future, batch)


def batches(units: Sequence[Unit], n_workers: int) -> Iterator[tuple[Unit, ...]]:
    """Units of one task each, a few batches of it for every worker."""
    for _, group in groupby(units, key=lambda unit: unit.task.name):
        of_task = list(group)
        even = -(-len(of_task) // (_BATCHES_PER_WORKER * max(1, n_workers)))
        size = min(even, _LARGEST_BATCH)
        for start in range(0, len(of_task), size):
            yield tuple(of_task[start : start + size])


def found_by(future: Any, batch: Sequence[Unit]) -> list[UnitOutcome]:
    """The outcomes of a batch; where the batch itself failed, of every unit that error."""
    error = error_of(future)
    if error is None:
        found: list[UnitOutcome] = future.result()
        return found
    message = f"{type(error).__name__}: {error}"
    return [UnitOutcome(unit, None, message, message) for unit in batch]


def _score(store_url: str, conditions: Conditions, batch: Sequence[Unit]) -> list[UnitOutcome]:
    """On a worker."""
    with _alone:
        evaluator = _evaluator(store_url, conditions)
        return [evaluator.outcome(unit) for unit in batch]


@cache
def _evaluator(store_url: str, conditions: Conditions) -> Evaluator:
    """One for all batches of a worker: the task that was last used stays loaded."""
    return Evaluator(open_store(store_url), conditions)
