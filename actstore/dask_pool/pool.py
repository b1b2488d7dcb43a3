"""A pool of Dask workers: one way for everything that computes on several machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from rich.console import Console

from actstore.dask_pool.checks import check_workers
from actstore.dask_pool.places import LOCAL, SLURM, DaskPlace, WorkerNeeds
from actstore.errors import InvalidInputError, MissingDependencyError, WorkerDiedError
from actstore.stopping import stop_on_signals

_AT_ONCE = 4
"""Calls under way for each worker: none waits for the next, and no more are held than that."""
_CONNECT_SECONDS = 30
_QUIET_SECONDS = 10
"""Waiting that is said nothing about."""
_CHECK_SECONDS = 1.0
_AGAIN = "What was stored stays: run the same command again to go on."
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class DaskPool:
    """Workers that compute; made by `dask_pool`."""

    client: Any
    count: Callable[[], int]
    """Workers that there are, or will be."""
    watch: Callable[[int], None] = lambda unfinished: None
    """Told now and then how many calls are not finished; raises where workers cannot be had."""

    def results(
        self, items: Iterable[_Item], start: Callable[[Any, _Item], Any]
    ) -> Iterator[tuple[_Item, Any]]:
        """Each item with its finished future, as they are done.

        start: (client, item) -> the future of what is computed for it. A few for each worker are
        under way at a time, so that memory does not grow with the number of items. What a lost
        worker was at is computed again on another. Raises WorkerDiedError where the scheduler is
        lost, ClusterError where worker jobs cannot be had.
        """
        waiting = iter(items)
        done: SimpleQueue[Any] = SimpleQueue()
        running: dict[str, tuple[_Item, Any]] = {}

        def begin(n: int) -> None:
            for item in islice(waiting, n):
                future = start(self.client, item)
                running[future.key] = item, future
                future.add_done_callback(done.put)

        begin(_AT_ONCE * max(1, self.count()))
        while running:
            future = self._next(done, running)
            item, _ = running.pop(future.key)
            begin(1)
            yield item, future

    def _next(self, done: SimpleQueue[Any], running: dict[str, Any]) -> Any:
        while True:
            self.watch(len(running))
            try:
                future = done.get(timeout=_CHECK_SECONDS)
            except Empty:
                if self.client.status not in ("closed", "closing"):
                    continue
            else:
                if future.status not in ("cancelled", "lost"):
                    return future
            raise WorkerDiedError(f"The Dask scheduler is gone, and with it the workers. {_AGAIN}")


def error_of(future: Any) -> BaseException | None:
    """What a finished future failed with; WorkerDiedError where several workers died of it."""
    from distributed import KilledWorker

    error: BaseException | None = future.exception()
    if isinstance(error, KilledWorker):
        return WorkerDiedError(
            f"{error.allowed_failures + 1} Dask workers were lost while they computed it, the last "
            f"at {error.last_worker.address}. Out of memory? Give workers more of it."
        )
    return error


@contextmanager
def dask_pool(place: DaskPlace, needs: WorkerNeeds) -> Iterator[DaskPool]:
    """Workers at a place, checked for what they need; those that were started end with the block.

    SIGTERM and SIGUSR1 raise StoppedError inside it, so that they end then too. Raises
    MissingDependencyError without distributed, InvalidInputError where no scheduler answers or a
    worker lacks something, ClusterError where SLURM gives no workers.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "--dask needs dask.distributed. Run: pip install 'actstore[metrics]'"
        ) from error
    with stop_on_signals() as stop, _pool(place, needs) as pool:
        try:
            check_workers(pool.client, needs)
            yield pool
        finally:
            stop.hold()


def _pool(place: DaskPlace, needs: WorkerNeeds) -> AbstractContextManager[DaskPool]:
    if place.where == LOCAL:
        return _here(place, needs)
    if place.where == SLURM:
        return _on_slurm(place, needs)
    return _at_address(place.where)


@contextmanager
def _here(place: DaskPlace, needs: WorkerNeeds) -> Iterator[DaskPool]:
    from distributed import Client

    from actstore.dask_pool.local import local_cluster

    shown = place.dashboard and _has_dashboard()
    with (
        local_cluster(place.processes, needs.environment, dashboard=shown) as cluster,
        Client(cluster) as client,
    ):
        if place.dashboard:
            _say_where(cluster)
        pool = DaskPool(client, lambda: place.processes)
        _wait(pool, place.processes, "Dask workers are starting")
        yield pool


@contextmanager
def _on_slurm(place: DaskPlace, needs: WorkerNeeds) -> Iterator[DaskPool]:
    try:
        from actstore.dask_pool.slurm_jobs import worker_jobs
    except ImportError as error:
        raise MissingDependencyError(
            f"--dask slurm needs {error.name}. Run: pip install 'actstore[slurm]'"
        ) from error
    from distributed import Client

    assert place.jobs is not None
    shown = place.dashboard and _has_dashboard()
    with worker_jobs(place.jobs, needs, dashboard=shown) as cluster, Client(cluster) as client:
        if place.dashboard:
            _say_where(cluster)
        most = place.jobs.maximum_jobs * place.jobs.processes
        pool = DaskPool(client, lambda: most, cluster.watch)
        _wait(pool, 1, "No worker job runs yet: SLURM decides when (squeue --me)")
        yield pool


@contextmanager
def _at_address(address: str) -> Iterator[DaskPool]:
    from distributed import Client

    try:
        _greet(address)
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError, TypeError) as error:  # TypeError: no certificates
        raise InvalidInputError(
            f"No Dask scheduler answers at {address!r} within {_CONNECT_SECONDS} s "
            f"({type(error).__name__}). Give its address as it printed it, such as "
            "tcp://node1:8786, or local for processes of this machine."
        ) from error
    with client:
        pool = DaskPool(client, lambda: _n_threads(client))
        _wait(pool, 1, f"{address} has no workers yet; start some: dask worker {address}")
        yield pool


def _greet(address: str) -> None:
    """Raise unless a scheduler answers in time: Client waits for ever where something is silent."""
    from distributed.core import connect
    from distributed.security import Security

    if not address.startswith(("tcp://", "tls://")):
        return

    async def greet() -> None:
        security = Security().get_connection_args("client")
        comm = await asyncio.wait_for(
            connect(address, timeout=_CONNECT_SECONDS, **security), _CONNECT_SECONDS
        )
        comm.abort()

    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop that runs
        thread.submit(asyncio.run, greet()).result()


def _wait(pool: DaskPool, n: int, why: str) -> None:
    """Wait until there are so many workers; says why, once."""
    begun, said = time.monotonic(), False
    while len(pool.client.nthreads()) < n:
        pool.watch(n)
        if not said and time.monotonic() > begun + _QUIET_SECONDS:
            said = True
            _say(f"{why}; waiting.")
        time.sleep(0.1)


def _n_threads(client: Any) -> int:
    return sum(client.nthreads().values())


def _has_dashboard() -> bool:
    return find_spec("bokeh") is not None


def _say_where(cluster: Any) -> None:
    if _has_dashboard():
        _say(f"Dask dashboard: {cluster.dashboard_link}")
    else:
        _say("Dask shows a dashboard where bokeh is installed: pip install 'actstore[slurm]'")


def _say(line: str) -> None:
    """On standard error, so that standard output stays fit for pipes."""
    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)
