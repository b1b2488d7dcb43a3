from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from actstore.errors import ClusterError, UnknownNameError
from actstore.slurm.following import follow
from actstore.slurm.logs import NewLines, last_lines, log_files
from actstore.slurm.manifest import Manifest, SubmittedJob
from actstore.slurm.queue import UNKNOWN, cancel, job_states, seconds_of, unfinished
from actstore.slurm.resources import Resources
from actstore.slurm.submission import submit
from tests.support.slurm.chains import chain, shell, wait_for, wait_for_end
from tests.support.slurm.cluster import SlurmCluster

slurm = pytest.mark.slurm


def manifest_of(folder: Path, *jobs: SubmittedJob) -> Manifest:
    return Manifest(folder, "an experiment", "", "tests", 0.0, jobs)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0:05", 5), ("12:34", 754), ("1:00:01", 3601), ("2-03:04:05", 183845), ("INVALID", None)],
)
def test_times_are_read_as_slurm_writes_them(said: str, seconds: int | None) -> None:
    assert seconds_of(said) == seconds


@slurm
def test_every_task_of_an_array_says_where_it_stands(cluster: SlurmCluster, tmp_path: Path) -> None:
    array = Resources(array=3, at_once=1)
    jobs = (shell("extract", "sleep 5", resources=array), shell("eval", "true", "extract"))
    manifest = submit(chain(tmp_path, *jobs))
    running = wait_for(manifest, "extract[0]", "RUNNING")
    assert (running.node, running.restarts, running.exit_code) == ("cpu1", 0, None)
    assert not running.ended
    states = {one.label: one for one in job_states(manifest)}
    assert {label: one.state for label, one in states.items()} == {
        "extract[0]": "RUNNING",
        "extract[1]": "PENDING",
        "extract[2]": "PENDING",
        "eval": "PENDING",
    }
    assert states["extract[1]"].reason == "JobArrayTaskLimit"
    assert states["eval"].reason == "Dependency"
    first, second = manifest.jobs
    assert unfinished(list(states.values())) == (
        f"extract (job {first.job_id}: 1 RUNNING, 2 PENDING), eval (job {second.job_id}: 1 PENDING)"
    )
    cancelled = cancel(manifest.jobs)
    assert {one.label for one in cancelled} == set(states)
    assert set(wait_for_end(manifest).values()) == {"CANCELLED"}
    assert cancel(manifest.jobs) == []


@slurm
def test_a_job_that_slurm_has_forgotten_is_unknown(cluster: SlurmCluster, tmp_path: Path) -> None:
    manifest = submit(chain(tmp_path, shell("collect", "true")))
    wait_for_end(manifest)
    known = manifest.jobs[0]
    forgotten = replace(known, stage="eval", job_id=known.job_id + 5000, tasks=2)
    alone = manifest_of(tmp_path, forgotten)
    assert [one.state for one in job_states(alone)] == [UNKNOWN, UNKNOWN]
    both = manifest_of(tmp_path, known, forgotten)
    assert [one.state for one in job_states(both)] == ["COMPLETED", UNKNOWN, UNKNOWN]
    assert cancel(both.jobs) == []


@slurm
def test_of_a_forgotten_job_the_end_of_its_log_tells(cluster: SlurmCluster, tmp_path: Path) -> None:
    """As it is minutes after a job's end, where accounting is off."""
    jobs = (
        shell("collect", "true"),
        shell("extract", "exit $SLURM_ARRAY_TASK_ID", resources=Resources(array=2)),
    )
    manifest = submit(chain(tmp_path, *jobs))
    wait_for_end(manifest)
    later = manifest
    for job in manifest.jobs:
        forgotten = replace(job, job_id=job.job_id + 5000)
        later = replace(later, jobs=(*[one for one in later.jobs if one != job], forgotten))
        for path in log_files(manifest, job.stage):
            path.rename(path.with_name(path.name.replace(f"-{job.job_id}", f"-{forgotten.job_id}")))
    states = {one.label: (one.state, one.reason) for one in job_states(later)}
    assert states == {
        "collect": ("COMPLETED", "as its log says"),
        "extract[0]": ("COMPLETED", "as its log says"),
        "extract[1]": ("FAILED", "as its log says"),
    }


@slurm
def test_a_controller_that_does_not_answer_is_an_error_in_its_words(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = submit(chain(tmp_path, shell("collect", "true")))
    elsewhere = tmp_path / "slurm.conf"
    right = cluster.configuration.read_text()
    elsewhere.write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=9\nMessageTimeout=1", right))
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    with pytest.raises(ClusterError, match="squeue.*Unable to contact slurm controller"):
        job_states(manifest)


@slurm
def test_logs_are_those_of_this_submission_by_task(cluster: SlurmCluster, tmp_path: Path) -> None:
    task = "for i in 1 2 3; do echo task $SLURM_ARRAY_TASK_ID line $i; done"
    jobs = chain(tmp_path, shell("eval", task, resources=Resources(array=11)))
    wait_for_end(submit(jobs))
    manifest = submit(jobs)
    followed = [
        (one.label, line) for one, line in follow(manifest, ["eval"], NewLines(), every=0.2)
    ]
    assert ("eval[10]", "task 10 line 3") in followed
    assert len(followed) == len(set(followed))
    logs = log_files(manifest, "eval")
    job_id = manifest.jobs[0].job_id
    assert [path.name for path in logs] == [f"eval-{job_id}_{i}.out" for i in range(11)]
    for i, path in enumerate(logs):
        assert f"task {i} line 2" in last_lines(path, 20)
    with pytest.raises(UnknownNameError, match="no stage 'evil'. Did you mean 'eval'"):
        log_files(manifest, "evil")


def test_the_end_of_a_log_is_read_however_it_was_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == []
    log.write_bytes(b"x" * 200_000 + b"\nfirst\n10 %\r20 %\r\nsecond\n\n\n")
    assert last_lines(log, 3) == ["first", "20 %", "second"]
    assert last_lines(log, 0) == []
    new = NewLines(skip=[log])
    with log.open("ab") as file:
        file.write(b"third\nhalf")
    assert new.of(log) == ["third"]
    with log.open("ab") as file:
        file.write(b" a line\n")
    assert new.of(log) == ["half a line"]
    assert new.of(log) == []
