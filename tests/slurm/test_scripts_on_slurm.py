"""Scripts in a real SLURM: signals, requeues, retries, workers for GPUs, disks of the nodes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from actstore.slurm.jobs import Job
from actstore.slurm.manifest import Manifest
from actstore.slurm.queue import cancel
from actstore.slurm.resources import Resources
from actstore.slurm.submission import submit
from tests.support.slurm.chains import chain, shell, wait_for_end
from tests.support.slurm.cluster import SlurmCluster, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

UNTIL_TOLD = (
    "trap 'exit 75' USR1; echo run ${SLURM_RESTART_COUNT:-0}; "
    'if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then exit 0; fi; while :; do sleep 0.1; done'
)
"""Runs until SIGUSR1 comes; done the second time."""
GPUS = Resources(partition="gpu", nodes=2, gpus_per_node=2)


def logs(manifest: Manifest, stage: str) -> str:
    """What all tasks of a stage wrote."""
    return "".join(p.read_text() for p in sorted((manifest.folder / "logs").glob(f"{stage}-*.out")))


def wait_for_words(manifest: Manifest, stage: str, words: str, times: int) -> None:
    """Wait until a stage's logs hold these words so often."""
    wait_until(
        lambda: len(re.findall(words, logs(manifest, stage))) == times,
        60,
        lambda: logs(manifest, stage),
    )


def job_id(manifest: Manifest, stage: str) -> str:
    return str(next(job.job_id for job in manifest.jobs if job.stage == stage))


@pytest.mark.parametrize("launch", [False, True], ids=["by itself", "through srun"])
def test_what_is_told_to_stop_requeues_itself_and_goes_on(
    cluster: SlurmCluster, tmp_path: Path, launch: bool
) -> None:
    resources = GPUS if launch else Resources(array=2)
    work = shell("work", UNTIL_TOLD, resources=resources, launch=launch)
    manifest = submit(chain(tmp_path, work, shell("then", "echo after all", "work")))
    workers = 4 if launch else 2
    wait_for_words(manifest, "work", "run 0", workers)
    cluster.run("scancel", "--signal=USR1", "--batch", job_id(manifest, "work"))
    assert set(wait_for_end(manifest).values()) == {"COMPLETED"}
    said = logs(manifest, "work")
    assert said.count("stopped before its end: back into the queue") == (1 if launch else 2)
    assert len(re.findall("run 1", said)) == workers
    assert logs(manifest, "then").startswith("after all")


def test_what_is_preempted_goes_on_when_there_is_room(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    low = shell("low", UNTIL_TOLD, resources=Resources(partition="lowprio").over(GPUS), launch=True)
    preempted = submit(chain(tmp_path / "low", low))
    wait_for_words(preempted, "low", "run 0", 4)
    high = shell("high", "sleep 1", resources=Resources(exclusive=True).over(GPUS), launch=True)
    preempting = submit(chain(tmp_path / "high", high))
    assert wait_for_end(preempting) == {"high": "COMPLETED"}
    assert wait_for_end(preempted) == {"low": "COMPLETED"}
    assert len(re.findall("run 1", logs(preempted, "low"))) == 4


@pytest.mark.parametrize("launch", [False, True], ids=["by itself", "through srun"])
def test_what_is_cancelled_does_not_requeue_itself(
    cluster: SlurmCluster, tmp_path: Path, launch: bool
) -> None:
    stopping = UNTIL_TOLD.replace("USR1", "USR1 TERM")
    resources = GPUS if launch else Resources(array=2)
    work = shell("work", stopping, resources=resources, launch=launch)
    manifest = submit(chain(tmp_path, work))
    wait_for_words(manifest, "work", "run 0", 4 if launch else 2)
    cancel(manifest.jobs)
    assert set(wait_for_end(manifest).values()) == {"CANCELLED"}
    assert cluster.idle()
    assert "back into the queue" not in logs(manifest, "work")


def test_a_worker_that_is_stopped_sends_the_job_back_though_others_are_done(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    last = 'if [ "$SLURM_PROCID$SLURM_RESTART_COUNT" = 3 ]; then exit 75; fi; echo "done"'
    manifest = submit(chain(tmp_path, shell("work", last, resources=GPUS, launch=True)))
    assert wait_for_end(manifest) == {"work": "COMPLETED"}
    assert logs(manifest, "work").count("back into the queue") == 1
    assert len(re.findall(r"(?m)^\d: done$", logs(manifest, "work"))) == 3 + 4


@pytest.mark.parametrize("asked", [GPUS, Resources(partition="gpu", nodes=2, gres="gpu:2")])
@pytest.mark.parametrize("bound", [True, False])
def test_each_worker_has_a_gpu_of_its_own(
    cluster: SlurmCluster, tmp_path: Path, asked: Resources, bound: bool
) -> None:
    say = 'echo "$SLURMD_NODENAME $SLURM_LOCALID of $CUDA_VISIBLE_DEVICES"'
    work = shell("work", say, resources=asked, launch=True)
    manifest = submit(chain(tmp_path, work, bind_gpus=bound))
    assert wait_for_end(manifest) == {"work": "COMPLETED"}
    found = re.findall(r"(?m)^\d: (gpu\d \d of \S+)$", logs(manifest, "work"))
    visible = "{rank}" if bound else "0,1"
    assert sorted(found) == [
        f"gpu{node} {rank} of {visible.format(rank=rank)}" for node in (1, 2) for rank in (0, 1)
    ]


def test_a_failure_is_tried_again_and_then_told(cluster: SlurmCluster, tmp_path: Path) -> None:
    array = Resources(array=2)
    fails_once = shell("once", 'test -n "$SLURM_RESTART_COUNT"', resources=array)
    fails = shell("always", "exit 9")
    wrong = shell("wrong", "exit 2")
    settings = {"max_retries": 1, "retry_seconds": 1}
    manifest = submit(chain(tmp_path, fails_once, fails, wrong, **settings))
    assert wait_for_end(manifest) == {
        "once[0]": "COMPLETED",
        "once[1]": "COMPLETED",
        "always": "FAILED",
        "wrong": "FAILED",
    }
    assert logs(manifest, "once").count("retry 1 of 1: back into the queue") == 2
    assert "ERROR: stage always: exit code 9 of bash, after 1 retries" in logs(manifest, "always")
    assert "back into the queue" not in logs(manifest, "wrong")
    assert not list((manifest.folder / "logs").glob("*.retries"))


def test_requeues_come_to_an_end(cluster: SlurmCluster, tmp_path: Path) -> None:
    manifest = submit(chain(tmp_path, shell("work", "exit 75"), max_requeues=1))
    assert wait_for_end(manifest) == {"work": "FAILED"}
    assert "ERROR: stage work is not done after 1 requeues" in logs(manifest, "work")


def test_every_node_is_readied_and_left_as_it_was(cluster: SlurmCluster, tmp_path: Path) -> None:
    scratch, hub = tmp_path / "scratch", tmp_path / "huggingface" / "hub"
    scratch.mkdir()
    hub.mkdir(parents=True)
    (hub / "weights").write_text("weights")
    work = shell(
        "work",
        'cat "$HF_HUB_CACHE/weights"; echo " in $(readlink -f "$HF_HUB_CACHE") $MADE"',
        resources=GPUS,
        launch=True,
    )
    manifest = submit(
        chain(
            tmp_path,
            work,
            scratch=str(scratch),
            scratch_gigabytes=0,
            stage_hub_cache=True,
            environment={"HF_HOME": str(hub.parent)},
            node_setup=('echo made > "$SCRATCH_FOLDER/made"',),
            setup=('export MADE="$(cat "$SCRATCH_FOLDER/made")"',),
        )
    )
    assert wait_for_end(manifest) == {"work": "COMPLETED"}
    found = re.findall(r"(?m)^\d: weights in (\S+) made$", logs(manifest, "work"))
    assert len(found) == 4
    assert all(Path(folder).is_relative_to(scratch) for folder in found)
    assert list(scratch.iterdir()) == []
    assert not list(Path("/tmp").glob(f"actstore-{job_id(manifest, 'work')}-*"))


def test_folders_and_names_may_hold_what_shells_read(cluster: SlurmCluster, tmp_path: Path) -> None:
    job: Job = replace(shell("work", "pwd"), name="50% of $HOME & 'more'")
    one = chain(tmp_path / "100% $HOME; `id` & co", job)
    manifest = submit(one)
    assert wait_for_end(manifest) == {"work": "COMPLETED"}
    assert logs(manifest, "work").startswith(f"{one.folder}\n")
