"""Where graphs are computed: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

from dask.delayed import Delayed

Compute: TypeAlias = Callable[[Iterable[Delayed]], Iterator[Any]]
"""Computes graphs that are made one by one; yields results as they are done."""
_START_SECONDS = 120


@contextmanager
def computing(workers: int, scheduler: str | None) -> Iterator[Compute]:
    """A way to compute graphs.

    workers: processes on this machine, each with one BLAS thread; one worker is this process,
    without any scheduler's start-up. scheduler: the address of a dask.distributed scheduler.
    """
    if scheduler is None and workers <= 1:
        yield _one_by_one
        return
    from distributed import Client

    if scheduler is not None:
        with Client(scheduler) as client:
            yield lambda graphs: _distributed(client, graphs)
        return
    with _processes(workers) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers, timeout=_START_SECONDS)
        yield lambda graphs: _distributed(client, graphs)


def _processes(workers: int) -> Any:
    """A cluster with its scheduler in this process and its workers in new ones.

    Unlike LocalCluster's, the workers do not import the caller's script, so a script needs no
    `if __name__ == "__main__"`; like them, they end when this process does, however it ends.
    """
    from distributed import Scheduler, SpecCluster
    from distributed.deploy.subprocess import SubprocessWorker

    host = "127.0.0.1"
    scheduler = {"host": host, "port": 0, "dashboard": False, "dashboard_address": ":0"}
    options = {"host": host, "nthreads": 1, "silence_logs": logging.WARNING}
    worker = {"cls": SubprocessWorker, "options": {"worker_kwargs": options}}
    return SpecCluster(
        workers=dict.fromkeys(range(workers), worker),
        scheduler={"cls": Scheduler, "options": scheduler},
        silence_logs=logging.WARNING,
    )


def _one_by_one(graphs: Iterable[Delayed]) -> Iterator[Any]:
    lazy: Any
    for lazy in graphs:
        yield lazy.compute(scheduler="synchronous")


def _distributed(client: Any, graphs: Iterable[Delayed]) -> Iterator[Any]:
    """A few graphs per worker at a time: the scheduler's memory does not grow with the request."""
    from distributed import as_completed

    waiting = iter(graphs)
    at_once = 4 * max(1, len(client.scheduler_info()["workers"]))
    running = as_completed([client.compute(graph) for graph in islice(waiting, at_once)])
    for future in running:
        yield future.result()
        for graph in islice(waiting, 1):
            running.add(client.compute(graph))
