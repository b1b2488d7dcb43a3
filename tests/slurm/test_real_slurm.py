"""Whole experiments on a real SLURM: one command to the report, through signals and failures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from actstore.experiment.load import load_experiment
from actstore.experiment.run import run_experiment
from actstore.experiment.submitting import find_submission
from actstore.slurm.manifest import Manifest
from actstore.slurm.queue import job_states
from actstore.store import open_store, verify_store
from tests.support import dataset_hub
from tests.support.command_line import Run, command_line
from tests.support.extraction import shards
from tests.support.mteb_data import SmallHub
from tests.support.slurm.chains import wait_for_end
from tests.support.slurm.cluster import SlurmCluster, wait_until
from tests.support.tiny_models import save_tiny_model, tiny_texts

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CHECKPOINTS = ("step0", "step10", "step20")

PROFILE = """\
name: simulated
default: {memory: 1G, time: "00:20:00", cpus_per_task: 1}
stages:
  extract: {partition: gpu, gpus_per_node: 2}
environment: {OMP_NUM_THREADS: "1", HF_HUB_DISABLE_XET: "1"}
max_retries: 0
"""

SCORED = """\
name: scored
store: scored.zarr
model: ./neox
checkpoints: [step0, step10, step20]
layers: 1-2
tasks: [STSBenchmark, SICK-R]
extract: {devices: cpu, threads: 1}
metrics: {metrics: [effective_rank]}
cluster:
  profile: simulated.yaml
  stages: {extract: {array: 2}, eval: {array: 2}, metrics: {array: 2}}
"""

MEASURED = """\
name: measured
store: measured.zarr
model: ./neox
checkpoints: [step0, step10, step20]
texts: {file: texts.txt}
extract: {devices: cpu, threads: 1, batch_tokens: 32}
metrics: {metrics: [effective_rank]}
cluster: {profile: simulated.yaml}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder / "neox", "gpt_neox", checkpoints=CHECKPOINTS)
    (folder / "texts.txt").write_text("\n".join(tiny_texts(1000)), "utf-8")
    (folder / "simulated.yaml").write_text(PROFILE, "utf-8")
    (folder / "scored.yaml").write_text(SCORED, "utf-8")
    (folder / "measured.yaml").write_text(MEASURED, "utf-8")
    return folder


@pytest.fixture(scope="module")
def undisturbed(tiny: Path) -> dict[str, bytes]:
    """The arrays of `measured`, extracted here without interruption."""
    whole = load_experiment(tiny / "measured.yaml", ["store=whole.zarr"])
    run_experiment(whole, ["collect", "extract"])
    return shards(tiny / "whole.zarr")


@pytest.fixture
def run(
    cluster: SlurmCluster,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Commands in a folder of models, texts and experiments, where there is a SLURM."""
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.zarr"))
    return command_line(monkeypatch, capsys, tmp_path)


@contextmanager
def hub_for_jobs(monkeypatch: pytest.MonkeyPatch, cache: Path, *tasks: str) -> Iterator[None]:
    """Lets the jobs that are submitted within the block read small data of these tasks."""
    with dataset_hub.serve(monkeypatch, dataset_hub.hub_of(SmallHub(), *tasks), cache):
        monkeypatch.setenv("HF_ENDPOINT", constants.ENDPOINT)
        monkeypatch.setenv("HF_HOME", str(cache))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield


def extract_job(manifest: Manifest) -> str:
    return next(str(job.job_id) for job in manifest.jobs if job.stage == "extract")


def some_shards(store: Path) -> bool:
    return any(store.rglob("*_pool/c.*"))


def test_one_submit_takes_an_experiment_to_its_report(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_for_jobs(monkeypatch, tmp_path / "hub", "STSBenchmark", "SICK-R"):
        code, out, err = run("slurm submit scored.yaml")
        assert (code, err) == (0, "")
        assert "5 jobs submitted" in out
        manifest = find_submission("scored.yaml")
        states = wait_for_end(manifest, 240)
    arrays = {"extract", "eval", "metrics"}
    labels = [f"{stage}[{i}]" for stage in arrays for i in range(2)]
    assert states == dict.fromkeys(["collect", *labels, "report"], "COMPLETED")
    assert {one.node for one in job_states(manifest) if one.stage == "extract"} == {"gpu1", "gpu2"}
    store = open_store(tmp_path / "scored.zarr")
    assert len(store.scores()) == 2 * len(CHECKPOINTS) * 2
    assert len(store.metric_table()) == len(CHECKPOINTS) * 2
    assert (tmp_path / "scored.html").stat().st_size > 10_000
    assert not verify_store(store).problems
    assert [kept.digest for kept in store.experiments()] == [manifest.digest]
    code, out, err = run("slurm status scored.yaml")
    assert (code, err) == (0, "")
    assert out.count("COMPLETED") == 5
    code, out, err = run("slurm logs scored.yaml --stage eval,report")
    assert (code, err) == (0, "")
    assert out.count(": done") == 3


def test_a_job_that_is_warned_requeues_itself_and_ends_with_the_same_bits(
    run: Run, cluster: SlurmCluster, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    code, _, err = run("slurm submit measured.yaml --stages collect,extract")
    assert (code, err) == (0, "")
    manifest = find_submission("measured.yaml")
    job = extract_job(manifest)
    wait_until(
        lambda: some_shards(tmp_path / "measured.zarr"), 120, lambda: str(job_states(manifest))
    )
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    states = wait_for_end(manifest, 240)
    assert set(states.values()) == {"COMPLETED"}
    (extract,) = [one for one in job_states(manifest) if one.stage == "extract"]
    assert extract.restarts == 1
    assert shards(tmp_path / "measured.zarr") == undisturbed
    log = (manifest.folder / "logs" / f"extract-{job}.out").read_text()
    assert "back into the queue" in log
    assert "stage extract: done" in log


def test_what_was_cancelled_in_the_middle_is_submitted_again_and_finishes(
    run: Run, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    assert run("slurm submit measured.yaml")[0] == 0
    first = find_submission("measured.yaml")
    code, _, err = run("slurm submit measured.yaml extract.batch_tokens=64")
    assert code == 2
    assert "measured was submitted before and is not finished: collect (job" in err
    wait_until(lambda: some_shards(tmp_path / "measured.zarr"), 120, lambda: str(job_states(first)))
    code, out, err = run("slurm cancel measured.yaml")
    assert (code, err) == (0, "")
    assert "Cancelled: extract (job" in out
    states = wait_for_end(first)
    assert states["collect"] == "COMPLETED"
    assert {states[stage] for stage in ("extract", "metrics", "report")} == {"CANCELLED"}
    assert shards(tmp_path / "measured.zarr").keys() < undisturbed.keys()
    assert run("slurm submit measured.yaml")[0] == 0
    second = find_submission("measured.yaml")
    assert second.folder == first.folder
    assert set(wait_for_end(second, 240).values()) == {"COMPLETED"}
    assert set(wait_for_end(first).values()) == {"COMPLETED", "CANCELLED"}  # it stayed cancelled
    assert shards(tmp_path / "measured.zarr") == undisturbed


def test_a_stage_that_fails_cancels_those_after_it_and_status_says_why(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "neox" / "step10" / "model.safetensors").write_bytes(b"no weights")
    assert run("slurm submit measured.yaml")[0] == 0
    manifest = find_submission("measured.yaml")
    states = wait_for_end(manifest, 180)
    assert states == {
        "collect": "COMPLETED",
        "extract": "FAILED",
        "metrics": "CANCELLED",
        "report": "CANCELLED",
    }
    code, out, err = run("slurm status measured.yaml")
    assert (code, err) == (0, "")
    assert out.count("a stage that it waits for failed") == 2
    assert "ERROR: stage extract: exit code" in out
    code, out, _ = run("slurm logs measured.yaml")
    assert code == 0
    assert out.index("== extract") < out.index("== collect")
