"""Dask workers: what is checked of them, and what is lost with one of them, or with all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pytest

from actstore.dask_pool import pool as pools
from actstore.dask_pool.checks import check_workers
from actstore.dask_pool.places import LOCAL, DaskPlace, WorkerJobs, WorkerNeeds, check_dask
from actstore.dask_pool.pool import DaskPool, dask_pool, error_of
from actstore.errors import InvalidInputError, StoppedError, WorkerDiedError
from actstore.stopping import stop_on_signals
from actstore.store import create_store

pytestmark = pytest.mark.slow


@pytest.fixture
def needs(tmp_path: Path) -> WorkerNeeds:
    return WorkerNeeds(create_store(tmp_path / "small.zarr").absolute_url)


def here(processes: int = 2) -> DaskPlace:
    return DaskPlace(LOCAL, processes, dashboard=False)


def square(number: int) -> tuple[int, int]:
    time.sleep(0.05)
    return number * number, os.getpid()


def die_if(number: int, of: int) -> int:
    if number == of:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def squares(pool: DaskPool, n: int) -> Iterator[tuple[int, int]]:
    for number, future in pool.results(
        range(n), lambda client, i: client.submit(square, i, pure=False)
    ):
        found, process = future.result()
        assert found == number * number
        yield found, process


@contextmanager
def scheduler(*workers: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address and the process of a Dask scheduler; workers: the environment of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    started = [subprocess.Popen(command, **quiet)]
    for environment in workers:
        worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        started.append(subprocess.Popen(worker, env={**os.environ, **environment}, **quiet))
    try:
        yield address, started[0]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_worker_that_is_killed_costs_what_it_was_at_and_is_replaced(needs: WorkerNeeds) -> None:
    with dask_pool(here(), needs) as pool:
        found = []
        for one in squares(pool, 60):
            found.append(one)
            if len(found) == 10:
                os.kill(one[1], signal.SIGKILL)
        wait_for(lambda: len(pool.client.nthreads()) == 2)
    assert sorted(number for number, _ in found) == [i * i for i in range(60)]


def test_what_kills_every_worker_is_an_error_that_says_so(needs: WorkerNeeds) -> None:
    with dask_pool(here(), needs) as pool:
        results = pool.results(range(3), lambda client, i: client.submit(die_if, i, 1))
        errors = {number: error_of(future) for number, future in results}
    assert [number for number, error in errors.items() if error is None] == [0, 2]
    assert isinstance(errors[1], WorkerDiedError)
    assert "4 Dask workers were lost" in str(errors[1])


def test_few_calls_are_under_way_at_a_time(needs: WorkerNeeds) -> None:
    numbers = iter(range(100))
    with dask_pool(here(1), needs) as pool:
        results = pool.results(numbers, lambda client, i: client.submit(square, i))
        next(results)
        assert next(numbers) == 4 + 1
        assert len(list(results)) == 98


def test_a_signal_ends_the_workers(needs: WorkerNeeds) -> None:
    workers: set[int] = set()
    with pytest.raises(StoppedError, match="SIGTERM"), dask_pool(here(), needs) as pool:  # noqa: PT012
        for n, (_, process) in enumerate(squares(pool, 1000)):
            workers.add(process)
            if n == 10:
                os.kill(os.getpid(), signal.SIGTERM)
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in workers))


def test_workers_have_the_environment_that_is_needed(needs: WorkerNeeds) -> None:
    wanted = WorkerNeeds(needs.store, environment={"OMP_NUM_THREADS": "3", "SOME": "a b"})
    with dask_pool(here(1), wanted) as pool:
        seen = pool.client.run(lambda: (os.environ["OMP_NUM_THREADS"], os.environ["SOME"]))
    assert list(seen.values()) == [("3", "a b")]
    assert "SOME" not in os.environ


def test_a_scheduler_that_is_lost_is_told(needs: WorkerNeeds) -> None:
    soon = dask.config.set({"distributed.comm.timeouts.connect": "2s"})
    with (  # noqa: PT012
        soon,
        scheduler({}) as (address, process),
        pytest.raises(WorkerDiedError, match=r"scheduler is gone.*run the same command again"),
        dask_pool(DaskPlace(address), needs) as pool,
    ):
        for n, _ in enumerate(squares(pool, 1000)):
            if n == 3:
                process.kill()


def test_an_address_that_nobody_answers_at_is_refused(
    needs: WorkerNeeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_CONNECT_SECONDS", 1)
    with (
        pytest.raises(InvalidInputError, match=r"No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        dask_pool(DaskPlace("tcp://127.0.0.1:9"), needs),
    ):
        pass


def test_a_server_of_another_kind_is_refused(
    needs: WorkerNeeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(InvalidInputError, match="No Dask scheduler answers"),
            dask_pool(DaskPlace(address), needs),
        ):
            pass


def test_waiting_for_workers_is_said(
    needs: WorkerNeeds, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pools, "_QUIET_SECONDS", 0.2)
    told = threading.Timer(6, os.kill, (os.getpid(), signal.SIGTERM))
    with scheduler() as (address, _), pytest.raises(StoppedError), stop_on_signals():  # noqa: PT012
        told.start()
        with dask_pool(DaskPlace(address), needs):
            pytest.fail("there are no workers")
    assert f"{address} has no workers yet; start some: dask worker" in capfd.readouterr().err


def test_workers_of_another_version_are_named(needs: WorkerNeeds, tmp_path: Path) -> None:
    old = tmp_path / "old" / "actstore-0.0.9.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: actstore\nVersion: 0.0.9\n")
    with (
        scheduler({"PYTHONPATH": str(old.parent)}) as (address, _),
        pytest.raises(InvalidInputError, match=r"\(tcp://.*\) has actstore 0.0.9, here is \d"),
        dask_pool(DaskPlace(address), needs),
    ):
        pass


def test_workers_that_do_not_reach_the_store_are_named(needs: WorkerNeeds, tmp_path: Path) -> None:
    """The store is moved aside while the workers are asked, after it was looked at here."""
    root = Path(needs.store, "zarr.json")
    content = root.read_bytes()
    with scheduler({}) as (address, _), dask_pool(DaskPlace(address), needs) as pool:
        elsewhere = Elsewhere(pool.client, lambda: root.unlink())
        with pytest.raises(
            InvalidInputError, match=rf"does not reach {needs.store}: .*No such file"
        ):
            check_workers(elsewhere, needs)
        root.write_bytes(content)
        elsewhere = Elsewhere(pool.client, lambda: root.write_bytes(b"another"))
        with pytest.raises(InvalidInputError, match=rf"has another store at {needs.store}\n"):
            check_workers(elsewhere, needs)
        root.write_bytes(content)
        check_workers(pool.client, needs)


def test_workers_reach_a_store_in_a_bucket_or_are_named(bucket: str) -> None:
    store = create_store(f"{bucket}/small.zarr")
    needs = WorkerNeeds(store.absolute_url)
    with dask_pool(here(1), needs) as pool:
        check_workers(pool.client, needs)
        elsewhere = Elsewhere(pool.client, lambda: store.storage.delete("zarr.json"))
        with pytest.raises(InvalidInputError, match=rf"does not reach {needs.store}: .*zarr.json"):
            check_workers(elsewhere, needs)


@dataclass
class Elsewhere:
    """A client whose workers are where something else has happened."""

    client: Any
    happens: Callable[[], object]

    def run(self, probe: Any, **options: Any) -> Any:
        self.happens()
        return self.client.run(probe, **options)


@pytest.mark.parametrize("where", ["local", "slurm", "tcp://node1:8786", "tls://10.0.0.1:1"])
def test_places_that_there_are(where: str) -> None:
    assert check_dask(where) == where


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("slrum", r"'slrum'.*Did you mean 'slurm'\?"),
        ("node1:8786", r"address of a scheduler: tcp://"),
        ("", "local .*slurm"),
        ("tcp://", "tcp://node1:8786"),
    ],
)
def test_places_that_there_are_not(where: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_dask(where)


def test_slurm_needs_to_know_what_jobs_ask_for() -> None:
    with pytest.raises(InvalidInputError, match="--dask slurm --cluster NAME"):
        DaskPlace("slurm")
    assert DaskPlace("slurm", jobs=WorkerJobs(())).jobs is not None


def wait_for(happened: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
