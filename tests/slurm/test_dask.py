"""Jobs for Dask workers, from a cluster profile to the script that sbatch gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from actstore.dask_pool.places import WorkerNeeds
from actstore.dask_pool.slurm_jobs import job_script
from actstore.errors import InvalidInputError, UnknownNameError
from actstore.inputs import worker_jobs_of
from actstore.slurm.dask import worker_jobs
from actstore.slurm.profile import load_profile
from actstore.slurm.resources import Resources

GOLDEN = Path(__file__).parent / "dask-worker.sbatch"
PROFILE = """\
name: here
default: {partition: cpu, account: group, time: "2:00:00", extra: ["--mail-user=a b"]}
stages:
  metrics: {memory: 8G, cpus_per_task: 16, array: 4}
  extract: {gpus_per_node: 4}
setup: ["module load python", "source /envs/act/bin/activate"]
environment: {HF_HOME: "$HOME/the cache"}
dask: {interface: ib0, processes: 2, maximum_jobs: 6}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "here.yaml"
    path.write_text(PROFILE)
    return path


def test_the_script_of_a_worker_job(profile: Path) -> None:
    jobs = worker_jobs(str(profile), "metrics")
    needs = WorkerNeeds("/data/a store.zarr", environment={"OMP_NUM_THREADS": "1"})
    script = job_script(jobs, needs, Path("/data/a store.zarr.runs/dask"), "tcp://10.0.0.1:4711")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert script.replace(sys.executable, "PYTHON") == GOLDEN.read_text()


def test_a_job_asks_for_what_its_stage_would_less_gpus_and_arrays(profile: Path) -> None:
    jobs = worker_jobs(load_profile(str(profile)), "extract", Resources(partition="long"))
    assert jobs.options == (
        *("--nodes=1", "--partition=long", "--account=group", "--time=2:00:00"),
        "--mail-user=a b",
    )
    assert (jobs.processes, jobs.maximum_jobs, jobs.interface) == (2, 6, "ib0")
    assert jobs.memory is None


@pytest.mark.parametrize(
    ("memory", "limit"), [("8G", "4.00GiB"), ("1000M", "500.00MiB"), ("600", "300.00MiB")]
)
def test_workers_share_the_memory_of_their_job(profile: Path, memory: str, limit: str) -> None:
    jobs = worker_jobs(str(profile), "metrics", Resources(memory=memory))
    script = job_script(jobs, WorkerNeeds("/s.zarr"), Path("/s"), "tcp://10.0.0.1:4711")
    assert f"--memory-limit {limit} " in script


def test_a_cluster_is_named_with_slurm_and_only_then(profile: Path) -> None:
    assert worker_jobs_of(None, None, "eval") is None
    assert worker_jobs_of("local", None, "eval") is None
    found = worker_jobs_of("slurm", str(profile), "eval")
    assert found is not None
    assert found.maximum_jobs == 6
    with pytest.raises(InvalidInputError, match="--cluster PROFILE. There are: "):
        worker_jobs_of("slurm", None, "eval")
    with pytest.raises(InvalidInputError, match="give both"):
        worker_jobs_of("local", str(profile), "eval")
    with pytest.raises(InvalidInputError, match="Did you mean 'local'"):
        worker_jobs_of("lokal", None, "eval")
    with pytest.raises(UnknownNameError, match="'nosuch'"):
        worker_jobs_of("slurm", "nosuch", "eval")
