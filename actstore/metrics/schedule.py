"""Where graphs are computed: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

from dask.delayed import Delayed

Compute: TypeAlias = Callable[[Iterable[Delayed]], Iterator[Any]]
"""Computes graphs that are made one by one; yields results as they are done."""


@contextmanager
def computing(workers: int, scheduler: str | None) -> Iterator[Compute]:
    """A way to compute graphs.

    workers: processes on this machine, each with one BLAS thread; one worker is this process,
    without any scheduler's start-up. scheduler: the address of a dask.distributed scheduler.
    """
    if scheduler is None and workers <= 1:
        yield _one_by_one
        return
    from distributed import Client, LocalCluster

    if scheduler is not None:
        with Client(scheduler) as client:
            yield lambda graphs: _distributed(client, graphs)
        return
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield lambda graphs: _distributed(client, graphs)


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
