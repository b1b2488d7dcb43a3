"""An experiment as jobs: commands, resources and dependencies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError
from actstore.experiment.jobs import chain_of, run_folder
from actstore.experiment.load import load_experiment
from actstore.experiment.record import experiment_digest
from actstore.slurm.jobs import Chain
from actstore.slurm.profile import ClusterProfile
from actstore.slurm.resources import Resources
from actstore.slurm.scripts import render
from tests.experiment.conftest import Write

PROFILE = ClusterProfile(
    name="test",
    default=Resources(partition="cpu", time="60"),
    stages={
        "extract": Resources(partition="gpu", gpus_per_node=4, array=2),
        "eval": Resources(array=8, at_once=4),
    },
    setup=("module load actstore",),
)
FILE = Path("/runs/experiment.yaml")


def chain(write: Write, *overrides: str, profile: ClusterProfile = PROFILE) -> Chain:
    return chain_of(load_experiment(write(), overrides), FILE, profile)


def test_each_stage_is_a_job_after_those_it_reads_from(write: Write) -> None:
    found = {job.stage: job for job in chain(write).jobs}
    assert {stage: job.after for stage, job in found.items()} == {
        "collect": (),
        "extract": ("collect",),
        "eval": ("extract",),
        "metrics": ("extract",),
        "report": ("eval", "metrics"),
    }
    assert found["eval"].command == ("actstore", "run", str(FILE), "--stages", "eval")
    assert [stage for stage, job in found.items() if job.launch] == ["extract"]
    assert [stage for stage, job in found.items() if job.share_option] == ["eval"]
    assert found["extract"].resources.partition == "gpu"
    assert found["report"].resources.partition == "cpu"
    assert found["metrics"].name == "tiny-metrics"


def test_what_the_experiment_asks_for_goes_before_the_profile(write: Write) -> None:
    found = chain(write, "cluster.stages.metrics={array: 3}", "cluster.stages.eval={qos: low}")
    jobs = {job.stage: job for job in found.jobs}
    assert (jobs["metrics"].resources.array, jobs["metrics"].share_option) == (3, True)
    assert (jobs["eval"].resources.qos, jobs["eval"].resources.array) == ("low", 8)


def test_stages_left_out_are_bridged(write: Write) -> None:
    jobs = chain(write, "stages=[extract,report]").jobs
    assert [(job.stage, job.after) for job in jobs] == [("extract", ()), ("report", ("extract",))]
    some = chain_of(load_experiment(write()), FILE, PROFILE, ["report", "collect"]).jobs
    assert [(job.stage, job.after) for job in some] == [("collect", ()), ("report", ("collect",))]


def test_a_run_has_a_folder_of_its_own_beside_the_store(write: Write, tmp_path: Path) -> None:
    experiment = load_experiment(write())
    folder = run_folder(experiment)
    assert folder.parent == tmp_path / "tiny.zarr.runs"
    assert folder.name == f"tiny-{experiment_digest(experiment)[:8]}"
    assert chain(write).folder == folder
    other = load_experiment(write(), ["layers=1"])
    assert run_folder(other) != folder


def test_without_a_setup_jobs_run_the_python_that_submits(write: Write) -> None:
    plain = PROFILE.model_copy(update={"setup": ()})
    (collect, *_) = chain(write, profile=plain).jobs
    assert collect.command[:3] == (sys.executable, "-m", "actstore")


def test_the_scripts_say_what_to_run(write: Write) -> None:
    found = chain(write)
    scripts = {job.stage: render(found, job) for job in found.jobs}
    assert '--stages eval --share "${SLURM_ARRAY_TASK_ID:?}/8"' in scripts["eval"]
    assert "--share" not in scripts["extract"]
    assert "--ntasks-per-node=4" in scripts["extract"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("extract.devices=all", "devices: all.* each of the 4 workers.*tasks_per_node=1"),
        ("extract.device_map=auto", "device_map: auto"),
        ("evaluate.dask=slurm", "stage eval .*cluster.profile=NAME"),
        ("metrics.dask=slurm", "stage metrics .*cluster.profile=NAME"),
    ],
)
def test_what_would_fail_in_the_jobs_is_told_before(write: Write, override: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        chain(write, override)


def test_one_worker_of_a_node_may_have_all_its_devices(write: Write) -> None:
    overrides = ("extract.device_map=auto", "cluster.stages.extract={tasks_per_node: 1}")
    assert len(chain(write, *overrides).jobs) == 5
