"""Dask workers in jobs of a real SLURM: the numbers are those of one process, whatever is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actstore.dask_pool import slurm_jobs
from actstore.dask_pool.places import SLURM, DaskPlace, WorkerJobs, WorkerNeeds
from actstore.dask_pool.pool import DaskPool, dask_pool
from actstore.errors import ClusterError, InvalidInputError, MissingDependencyError
from actstore.evaluate import EvaluationRequest, evaluate
from actstore.metrics import MetricsRequest, compute_metrics
from actstore.store import open_store
from tests.metrics.small_store import MODEL, SmallStore, small_store
from tests.support.mteb_data import use_small_hub
from tests.support.slurm.cluster import SlurmCluster, wait_until
from tests.support.vector_store import MODEL as VECTORS
from tests.support.vector_store import suite_of, vector_store

METRICS = ("effective_rank", "curvature", "lens_entropy", "linear_cka", "uniformity")
JOBS = WorkerJobs(
    options=("--partition=cpu,gpu", "--mem=2500M", "--time=0-0:10"),
    maximum_jobs=2,
    memory="2500M",  # workers import this file, and mteb with it
    interface="lo",
)


@pytest.fixture
def small(tmp_path: Path) -> SmallStore:
    """In a folder whose name needs quoting."""
    folder = tmp_path / "it is here"
    folder.mkdir()
    return small_store(folder)


def place(**changes: Any) -> DaskPlace:
    return DaskPlace(SLURM, jobs=replace(JOBS, **changes))


def needs(small: SmallStore) -> WorkerNeeds:
    return WorkerNeeds(small.store.absolute_url)


def worker_ids(cluster: SlurmCluster) -> list[str]:
    """The jobs that run workers now."""
    return cluster.run("squeue", "-h", "-t", "R", "-n", "actstore-dask", "-o", "%A").split()


def ends(cluster: SlurmCluster) -> None:
    """No job is left, but for the moments that SLURM takes to end one."""
    wait_until(cluster.idle, 20, lambda: cluster.run("squeue"))


def slow_square(number: int) -> tuple[int, str]:
    time.sleep(0.4)
    return number * number, os.environ["SLURM_JOB_ID"]


def squares(pool: DaskPool, n: int) -> Iterator[tuple[int, str]]:
    numbers = pool.results(range(n), lambda client, i: client.submit(slow_square, i, pure=False))
    for number, future in numbers:
        square, job = future.result()
        assert square == number * number
        yield square, job


@pytest.mark.slurm
@pytest.mark.slow
def test_metrics_of_slurm_workers_are_those_of_one_process(
    cluster: SlurmCluster, small: SmallStore, capfd: pytest.CaptureFixture[str]
) -> None:
    request = MetricsRequest(MODEL, metrics=METRICS)
    compute_metrics(small.store, request)
    expected = small.store.metric_table()
    again = replace(request, dask=SLURM, worker_jobs=JOBS, overwrite=True)

    def lose_the_first() -> None:
        wait_until(lambda: worker_ids(cluster), 60, lambda: cluster.run("squeue"))
        time.sleep(2)  # it joins, and takes something up
        cluster.run("scancel", worker_ids(cluster)[0])

    loser = threading.Thread(target=lose_the_first)
    loser.start()
    report = compute_metrics(small.store, again)
    loser.join()
    assert len(report.records) == len(expected)
    found = open_store(small.store.url).metric_table()
    key = ["checkpoint", "layer", "metric", "source"]
    ours, theirs = (table.set_index(key)["value"].sort_index() for table in (found, expected))
    assert ours.to_dict() == pytest.approx(theirs.to_dict(), rel=1e-6, nan_ok=True)
    assert "Dask dashboard: http://" in capfd.readouterr().err
    ends(cluster)


@pytest.mark.slurm
@pytest.mark.slow
def test_scores_of_slurm_workers_are_those_of_one_process(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_hub(monkeypatch)
    store = vector_store(tmp_path, suite_of("STSBenchmark"))
    request = EvaluationRequest(VECTORS, "small", poolings=("mean",))
    assert evaluate(store, request).failures == ()
    expected = store.scores().drop(columns=["evaluation_seconds"])
    again = replace(request, dask=SLURM, worker_jobs=JOBS, overwrite=True)
    report = evaluate(store, again)
    assert (report.evaluated, report.failures) == (3, ())
    found = open_store(store.url).scores().drop(columns=["evaluation_seconds"])
    pd.testing.assert_frame_equal(found, expected)
    ends(cluster)


@pytest.mark.slurm
@pytest.mark.slow
def test_a_job_that_is_cancelled_costs_what_it_was_at_and_is_replaced(
    cluster: SlurmCluster, small: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_jobs, "_LOOK_SECONDS", 0.5)
    with dask_pool(place(), needs(small)) as pool:
        found: list[tuple[int, str]] = []
        for one in squares(pool, 80):
            found.append(one)
            if len(found) == 5:
                lost = worker_ids(cluster)[0]
                cluster.run("scancel", lost)
    assert sorted(square for square, _ in found) == [i * i for i in range(80)]
    assert lost in {job for _, job in found}
    assert len({job for _, job in found}) == 3, "two at the same time, and one in place of one"
    ends(cluster)


@pytest.mark.slurm
@pytest.mark.slow
def test_a_job_has_as_many_workers_as_processes(cluster: SlurmCluster, small: SmallStore) -> None:
    with dask_pool(
        place(processes=2, maximum_jobs=1, setup=("ulimit -c 0",)), needs(small)
    ) as pool:
        assert pool.count() == 2
        jobs = [job for _, job in squares(pool, 12)]
        assert len(pool.client.nthreads()) == 2
    assert len(set(jobs)) == 1


@pytest.mark.slurm
def test_what_sbatch_refuses_is_said_in_its_words(cluster: SlurmCluster, small: SmallStore) -> None:
    with (
        pytest.raises(ClusterError, match=r"SLURM refused.*[Ii]nvalid partition"),
        dask_pool(place(options=("--partition=nowhere",)), needs(small)),
    ):
        pass


@pytest.mark.slurm
@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_with_the_end_of_its_log(
    cluster: SlurmCluster, small: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_jobs, "_LOOK_SECONDS", 0.5)
    wrong = place(setup=("echo there is no such module; exit 1",))
    with (
        pytest.raises(ClusterError, match=r"3 SLURM jobs.*\n  there is no such module\nIs the"),
        dask_pool(wrong, needs(small)),
    ):
        pass
    ends(cluster)


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_is_told_to_stop_cancels_its_jobs(
    cluster: SlurmCluster, small: SmallStore, tmp_path: Path, number: signal.Signals
) -> None:
    profile = tmp_path / "here.yaml"
    profile.write_text(
        "name: here\ndefault: {partition: cpu, memory: 700M, time: '10'}\ndask: {interface: lo}\n"
    )
    command = [sys.executable, "-m", "actstore", "metrics", small.store.url, "--dask", "slurm"]
    running = subprocess.Popen(
        [*command, "--cluster", str(profile)], stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: worker_ids(cluster), 60, lambda: cluster.run("squeue"))
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 75, said
    assert f"Stopped by {number.name}" in said
    ends(cluster)


@pytest.mark.slurm
def test_a_network_there_is_not_is_refused(cluster: SlurmCluster, small: SmallStore) -> None:
    with (
        pytest.raises(InvalidInputError, match=r"interface: nonet0.*a network of this machine"),
        dask_pool(place(interface="nonet0"), needs(small)),
    ):
        pass


def test_without_sbatch_it_says_where_to_run(
    small: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(MissingDependencyError, match=r"sbatch.*--dask local"),
        dask_pool(place(), needs(small)),
    ):
        pass
