"""How devices are named, and which of them this process uses."""

from __future__ import annotations

import os

import pytest
import torch

from actstore.errors import InvalidInputError
from actstore.extract.workers.devices import is_first_rank, local_rank, threads_each, worker_devices

TORCHRUN = {"LOCAL_RANK": "1", "RANK": "5", "WORLD_SIZE": "8"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "3", "SLURM_PROCID": "3"}
SBATCH = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch says that there are four GPUs: which of them are chosen needs none."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: cuda)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("all", ("cuda:0", "cuda:1", "cuda:2", "cuda:3")),
        ("auto", ("cuda:0", "cuda:1", "cuda:2", "cuda:3")),
        ("cuda", ("cuda:0",)),
        ("cuda:0,2", ("cuda:0", "cuda:2")),
        ("cuda:3, cpu", ("cuda:3", "cpu")),
        ("cpu:2", ("cpu", "cpu")),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_each_named_device_gets_a_worker(asked: str, expected: tuple[str, ...]) -> None:
    assert worker_devices(asked, {}) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("0,1", r"Cannot read '0'"),
        ("cpu:2,3", r"Cannot read '3'.*cpu:4"),
        ("cuda:", r"Cannot read 'cuda:'"),
        ("", r"Cannot read ''"),
        ("cuda:1,1", r"name cuda:1 twice"),
        ("cuda:4", r"'cuda:4'.* has cuda:0, cuda:1, cuda:2, cuda:3.*--devices auto"),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_what_cannot_be_used_is_refused(asked: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        worker_devices(asked, {})


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_without_an_accelerator_auto_and_all_are_the_cpu() -> None:
    assert worker_devices("auto", {}) == worker_devices("all", {}) == ("cpu",)
    with pytest.raises(InvalidInputError, match="no accelerator"):
        worker_devices("cuda", {})


@pytest.mark.parametrize(("environment", "device"), [(TORCHRUN, "cuda:1"), (SRUN, "cuda:3")])
@pytest.mark.usefixtures("gpus")
def test_a_launchers_process_takes_its_own_device(environment: dict[str, str], device: str) -> None:
    assert worker_devices("auto", environment) == (device,)
    assert not is_first_rank(environment)


def test_the_script_of_an_sbatch_job_is_no_task_of_a_step() -> None:
    assert local_rank(SBATCH) is None
    assert is_first_rank(SBATCH)


def test_workers_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert threads_each(None, ("cpu",)) is None
    assert threads_each(None, ("cpu",) * cores) == 1
    assert threads_each(3, ("cpu", "cpu")) == 3
