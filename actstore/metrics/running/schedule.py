"""Where graphs are computed: in this process, or on Dask workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from dask.delayed import Delayed

from actstore.dask_pool.places import LOCAL, DaskPlace, WorkerJobs, WorkerNeeds
from actstore.store import Store

Compute: TypeAlias = Callable[[Iterable[Delayed]], Iterator[Any]]
"""Computes graphs that are made one by one; yields results as they are done."""
_ENVIRONMENT = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


class Computers(Protocol):
    """What a request says of where to compute."""

    @property
    def workers(self) -> int:
        """Processes on this machine."""

    @property
    def dask(self) -> str | None:
        """`local`, `slurm` or an address."""

    @property
    def worker_jobs(self) -> WorkerJobs | None:
        """Of `slurm`."""


@contextmanager
def computing(request: Computers, store: Store) -> Iterator[Compute]:
    """A way to compute graphs: in this process if one worker is asked for, without any scheduler.

    More are processes of this machine, each with one BLAS thread. Raises as `dask_pool` does.
    """
    if request.dask is None and request.workers <= 1:
        yield _one_by_one
        return
    from actstore.dask_pool.pool import DaskPool, dask_pool, error_of

    def compute(pool: DaskPool, graphs: Iterable[Delayed]) -> Iterator[Any]:
        for _, future in pool.results(graphs, lambda client, graph: client.compute(graph)):
            error = error_of(future)
            if error is not None:
                raise error
            yield future.result()

    where = request.dask or LOCAL
    shown = request.dask is not None
    place = DaskPlace(where, request.workers, request.worker_jobs, dashboard=shown)
    needs = WorkerNeeds(store.absolute_url, environment=_ENVIRONMENT)
    with dask_pool(place, needs) as pool:
        yield lambda graphs: compute(pool, graphs)


def _one_by_one(graphs: Iterable[Delayed]) -> Iterator[Any]:
    lazy: Any
    for lazy in graphs:
        yield lazy.compute(scheduler="synchronous")
