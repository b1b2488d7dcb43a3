from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from actstore.errors import ClusterError, InvalidInputError, MissingDependencyError
from actstore.slurm.manifest import manifests_of, read_manifest
from actstore.slurm.queue import cancel, job_states
from actstore.slurm.resources import Resources
from actstore.slurm.submission import dry_run, sbatch_command, submit
from benchmarks.slurm import submissions
from tests.support.slurm.chains import chain, shell, wait_for, wait_for_end
from tests.support.slurm.cluster import SlurmCluster

slurm = pytest.mark.slurm

STAGES = (
    shell("collect", "echo texts"),
    shell("extract", "echo states", "collect", resources=Resources(array=2)),
    shell("eval", "echo scores", "extract"),
    shell("report", "echo page", "extract", "eval"),
)


def test_a_job_waits_for_the_ids_of_the_stages_before_it(tmp_path: Path) -> None:
    jobs = chain(tmp_path, *STAGES)
    ids = {"collect": 7, "extract": 8, "eval": 9}
    assert sbatch_command(jobs, STAGES[0], ids) == [
        "sbatch",
        "--parsable",
        f"--chdir={jobs.folder}",
        str(jobs.folder / "collect.sbatch"),
    ]
    assert sbatch_command(jobs, STAGES[3], ids)[3:5] == [
        "--dependency=afterok:8:9",
        "--kill-on-invalid-dep=yes",
    ]


def test_a_job_that_waits_for_what_is_not_there_is_refused(tmp_path: Path) -> None:
    jobs = chain(tmp_path, shell("eval", "true", "extract"))
    with pytest.raises(InvalidInputError, match="eval waits for extract, which is not submitted"):
        dry_run(jobs)


def test_a_dry_run_prints_scripts_and_commands_and_writes_nothing(tmp_path: Path) -> None:
    jobs = chain(tmp_path, *STAGES)
    printed = dry_run(jobs)
    assert printed.count("#!/usr/bin/env bash\n") == 4
    assert printed.splitlines()[-1].startswith("sbatch --parsable '--chdir=")
    assert "--dependency=afterok:ID_OF_EXTRACT:ID_OF_EVAL" in printed
    assert list(tmp_path.iterdir()) == []


def test_without_sbatch_the_way_without_slurm_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    jobs = chain(tmp_path, *STAGES)
    with pytest.raises(MissingDependencyError, match="no sbatch on PATH.*actstore run"):
        submit(jobs)
    assert not jobs.folder.exists()


@slurm
def test_a_chain_runs_in_order_and_leaves_a_manifest(cluster: SlurmCluster, tmp_path: Path) -> None:
    order = tmp_path / "order"
    jobs = [
        replace(one, command=(*one.command[:2], f"echo {one.stage} >> {order}")) for one in STAGES
    ]
    manifest = submit(chain(tmp_path, *jobs), digest="abc")
    assert read_manifest(manifest.folder) == manifest
    assert [job.stage for job in manifest.jobs] == ["collect", "extract", "eval", "report"]
    assert [job.tasks for job in manifest.jobs] == [None, 2, None, None]
    collect, extract, evaluation, report = manifest.jobs
    assert extract.after == (collect.job_id,)
    assert report.after == (extract.job_id, evaluation.job_id)
    assert (manifest.digest, manifest.cluster) == ("abc", "tests")
    states = wait_for_end(manifest)
    assert set(states) == {"collect", "extract[0]", "extract[1]", "eval", "report"}
    assert set(states.values()) == {"COMPLETED"}
    assert order.read_text().split() == ["collect", "extract", "extract", "eval", "report"]


@slurm
def test_dependants_of_a_stage_that_fails_are_cancelled_and_say_so(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    jobs = (
        shell("collect", "true"),
        shell("extract", "exit $SLURM_ARRAY_TASK_ID", "collect", resources=Resources(array=2)),
        shell("eval", "true", "extract"),
        shell("report", "true", "eval"),
    )
    manifest = submit(chain(tmp_path, *jobs))
    states = wait_for_end(manifest)
    assert states == {
        "collect": "COMPLETED",
        "extract[0]": "COMPLETED",
        "extract[1]": "FAILED",
        "eval": "CANCELLED",
        "report": "CANCELLED",
    }
    by_label = {one.label: one for one in job_states(manifest)}
    assert by_label["extract[1]"].exit_code == 1
    assert by_label["eval"].reason == "DependencyNeverSatisfied"


@slurm
def test_what_sbatch_refuses_takes_the_others_back(cluster: SlurmCluster, tmp_path: Path) -> None:
    jobs = (
        shell("collect", "sleep 60"),
        shell("extract", "true", "collect", resources=Resources(partition="no-such")),
    )
    with pytest.raises(ClusterError, match="invalid partition specified: no-such") as raised:
        submit(chain(tmp_path, *jobs))
    manifest = read_manifest(chain(tmp_path).folder)
    assert [job.stage for job in manifest.jobs] == ["collect"]
    assert f"cancelled now: collect ({manifest.jobs[0].job_id})" in raised.value.__notes__[0]
    assert wait_for_end(manifest) == {"collect": "CANCELLED"}


@slurm
def test_a_second_submission_is_refused_while_the_first_is_alive(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    jobs = chain(tmp_path, shell("collect", "sleep 60"), shell("eval", "true", "collect"))
    first = submit(jobs)
    wait_for(first, "collect", "RUNNING")
    with pytest.raises(InvalidInputError) as raised:
        submit(jobs)
    for words in ("1 RUNNING", "1 PENDING", "actstore slurm cancel", "--again"):
        assert words in str(raised.value)
    assert read_manifest(jobs.folder) == first
    second = submit(jobs, again=True)
    assert {job.job_id for job in first.jobs}.isdisjoint(job.job_id for job in second.jobs)
    assert set(wait_for_end(first).values()) == {"CANCELLED"}
    assert manifests_of(tmp_path / "no.zarr") == []
    cancel(second.jobs)
    assert set(wait_for_end(second).values()) == {"CANCELLED"}
    third = submit(jobs)  # nothing is alive any more
    assert third.started > second.started


@slurm
def test_who_submits_from_within_a_job_passes_nothing_of_it_on(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "19")
    said = tmp_path / "said"
    line = f"echo ${{SLURM_ARRAY_TASK_ID-none}} ${{SLURM_RESTART_COUNT-none}} > {said}"
    wait_for_end(submit(chain(tmp_path, shell("collect", line))))
    assert said.read_text().split() == ["none", "none"]


def test_a_manifest_is_found_from_its_store_and_survives_being_moved(tmp_path: Path) -> None:
    folder = tmp_path / "s.zarr.runs" / "one-12345678"
    folder.mkdir(parents=True)
    document = {
        "version": 1,
        "folder": "/elsewhere",
        "experiment": "one",
        "digest": "12345678",
        "cluster": "tests",
        "started": 5.0,
        "jobs": [
            {
                "stage": "extract",
                "name": "one-extract",
                "job_id": 4,
                "script": "extract.sbatch",
                "tasks": 2,
                "after": [3],
                "submitted": 6.0,
            }
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(document))
    broken = tmp_path / "s.zarr.runs" / "two-12345678"
    shutil.copytree(folder, broken)
    (broken / "manifest.json").write_text("{")
    (manifest,) = manifests_of(tmp_path / "s.zarr")
    assert manifest == read_manifest(folder)
    assert manifest.folder == folder
    assert manifest.jobs[0].after == (3,)
    with pytest.raises(InvalidInputError, match="no manifest of version 1"):
        read_manifest(broken)
    with pytest.raises(InvalidInputError, match="Nothing was submitted from"):
        read_manifest(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


@slurm
def test_the_benchmark_submits_four_stages(cluster: SlurmCluster, tmp_path: Path) -> None:
    assert len(submissions(tmp_path, cluster, rounds=1)) == 1
    (manifest,) = manifests_of(tmp_path / "benchmark.zarr")
    assert manifest.stages == ("collect", "extract", "eval", "report")
