"""Scoring units on a Dask cluster: any that has actstore installed and reaches the store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Any

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.evaluate.scoring.conditions import Conditions, new_process_environment
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.evaluate.scoring.worker import Evaluator
from actstore.store import open_store

_BATCHES_PER_WORKER = 4
_CONNECT_SECONDS = 30
_alone = threading.Lock()
"""mteb's random generators are the process's: threads of one worker score one after the other."""


def outcomes_on_cluster(
    address: str, store_url: str, conditions: Conditions, units: Sequence[Unit], workers: int
) -> Iterator[UnitOutcome]:
    """The outcome of every unit, as batches of one task come back.

    address: of a Dask scheduler, or `local` for one with `workers` processes on this machine. What
    a lost worker was at runs again elsewhere; a batch that loses several fails. Raises
    MissingDependencyError without distributed, InvalidInputError where no scheduler answers.
    """
    with _client(address, conditions, workers) as client:
        from distributed import as_completed

        n_workers = max(1, len(client.scheduler_info()["workers"]))
        futures = {
            client.submit(_score, store_url, conditions, batch, pure=False): batch
            for batch in _batches(units, n_workers)
        }
        for future in as_completed(list(futures)):
            yield from _found(future, futures.pop(future))


def _batches(units: Sequence[Unit], n_workers: int) -> Iterator[tuple[Unit, ...]]:
    """Units of one task each, a few batches of it for every worker."""
    for _, group in groupby(units, key=lambda unit: unit.task.name):
        of_task = list(group)
        size = -(-len(of_task) // (_BATCHES_PER_WORKER * n_workers))
        for start in range(0, len(of_task), size):
            yield tuple(of_task[start : start + size])


def _found(future: Any, batch: Sequence[Unit]) -> list[UnitOutcome]:
    error = future.exception()
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


@contextmanager
def _client(address: str, conditions: Conditions, workers: int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingDependencyError(
            "--dask needs dask.distributed. Run: pip install 'actstore[eval]'"
        ) from error
    if address == "local":
        with (
            new_process_environment(conditions),
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as here,
            Client(here) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InvalidInputError(
            f"No Dask scheduler answers at {address!r} ({error}). Give an address such as "
            "tcp://node1:8786, or local for processes of this machine."
        ) from error
    with client:
        yield client
