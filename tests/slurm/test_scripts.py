"""The text of sbatch scripts, whole and run by bash; tests/slurm/test_scripts_on_slurm.py submits.

After a change that is meant: python -m tests.slurm.test_scripts
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError
from actstore.slurm.jobs import Chain, Job
from actstore.slurm.profile import SHIPPED, STAGES, ClusterProfile, load_profile
from actstore.slurm.resources import Resources
from actstore.slurm.scripts import preparation, render

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path("/shared/it's 100% mine/pythia.zarr.runs/demo-01234567")
SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
AFTER: dict[str, tuple[str, ...]] = {
    "collect": (),
    "extract": ("collect",),
    "eval": ("extract",),
    "metrics": ("extract",),
    "report": ("eval", "metrics"),
}


def shipped_chain(name: str) -> Chain:
    """All stages of an experiment on a shipped profile."""
    profile = load_profile(str(SHIPPED / f"{name}.yaml"))
    jobs = tuple(
        Job(
            stage=stage,
            name=f"demo-{stage}",
            command=("actstore", "run", str(FOLDER / "experiment.yaml"), "--stages", stage),
            resources=profile.resources(stage),
            launch=stage == "extract",
            after=AFTER[stage],
            share_option=stage in ("eval", "metrics"),
        )
        for stage in STAGES
    )
    return Chain("demo", FOLDER, jobs, profile)


def golden_scripts() -> dict[str, str]:
    """File name and text of the script of every shipped profile and stage."""
    chains = {name: shipped_chain(name) for name in SHIPPED_NAMES}
    return {
        f"{name}-{job.stage}.sbatch": render(chain, job)
        for name, chain in chains.items()
        for job in chain.jobs
    }


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_scripts_are_what_they_were(name: str) -> None:
    scripts = {file: text for file, text in golden_scripts().items() if file.startswith(f"{name}-")}
    for file, text in scripts.items():
        assert text == (GOLDEN / file).read_text(), file
    assert len(scripts) == len(STAGES)


def test_every_golden_file_is_of_a_script() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(golden_scripts())


def test_bash_can_read_every_script() -> None:
    for path in GOLDEN.iterdir():
        read = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert (read.returncode, read.stderr) == (0, ""), path


def chain(folder: Path, command: str, **fields: object) -> Chain:
    """One job of a bash command, without srun."""
    job = Job("work", "work", ("bash", "-c", command), Resources())
    profile = ClusterProfile.model_validate({"name": "tests", **fields})
    return Chain("an experiment", folder / "it's a run", (job,), profile)


def write(chain: Chain) -> Path:
    """The script of a chain's only job, in its folder."""
    chain.logs.mkdir(parents=True, exist_ok=True)
    path = chain.script(chain.jobs[0].stage)
    path.write_text(render(chain, chain.jobs[0]))
    return path


def run(chain: Chain, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script by bash where there is no SLURM."""
    return subprocess.run(
        ["bash", str(write(chain))], env=without_slurm(environment), capture_output=True, text=True
    )


def without_slurm(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without SLURM's, and more."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return own | dict(more)


def test_a_script_runs_without_slurm(tmp_path: Path) -> None:
    ran = run(chain(tmp_path, "echo it works"))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[0] == "it works"
    assert ran.stdout.endswith("stage work: done\n")


@pytest.mark.parametrize("code", [1, 2, 75, 127])
def test_a_script_ends_as_its_command_did(tmp_path: Path, code: int) -> None:
    ran = run(chain(tmp_path, f"exit {code}", max_retries=0))
    assert ran.returncode == code
    assert "ERROR: " in ran.stdout


def test_what_trying_again_does_not_mend_is_not_tried_again(tmp_path: Path) -> None:
    ran = run(chain(tmp_path, "exit 2"))
    assert "exit code 2 of bash, which trying again does not mend" in ran.stdout
    assert "queue" not in ran.stdout


def test_a_stage_that_is_stopped_too_often_fails(tmp_path: Path) -> None:
    ran = run(chain(tmp_path, "exit 75", max_requeues=3), SLURM_RESTART_COUNT="3")
    assert ran.returncode == 75
    assert "ERROR: stage work is not done after 3 requeues; submit it again" in ran.stdout


def test_failures_are_counted_and_forgotten_after_the_last(tmp_path: Path) -> None:
    failing = chain(tmp_path, "exit 1", max_retries=2, retry_seconds=1)
    first = run(failing)
    assert "exit code 1 of bash, retry 1 of 2" in first.stdout
    assert "ERROR: cannot requeue what sbatch did not start; submit it again" in first.stdout
    counted = failing.logs / "work-.retries"
    assert counted.read_text().split()[0] == "1"
    assert "retry 2 of 2" in run(failing).stdout
    assert counted.read_text().split()[0] == "2"
    last = run(failing)
    assert "exit code 1 of bash, after 2 retries" in last.stdout
    assert not counted.exists()


def test_success_forgets_earlier_failures(tmp_path: Path) -> None:
    failing = chain(tmp_path, "test -e ok", retry_seconds=1)
    assert run(failing).returncode == 1
    good = chain(tmp_path, "true", retry_seconds=1)
    assert run(good).returncode == 0
    assert list(good.logs.iterdir()) == []


def test_a_retry_waits_twice_as_long_as_the_one_before(tmp_path: Path) -> None:
    failing = chain(tmp_path, "exit 1", retry_seconds=2, max_retries=3)
    failing.logs.mkdir(parents=True)
    (failing.logs / "work-.retries").write_text(f"2 {int(time.time())}\n")
    assert re.search("retry 2 begins in [1-4] seconds", run(failing).stdout)
    (failing.logs / "work-.retries").write_text(f"2 {int(time.time()) - 4}\n")
    assert "begins in" not in run(failing).stdout


def test_setup_that_fails_ends_the_job_before_its_work(tmp_path: Path) -> None:
    failing = chain(tmp_path, "echo never", setup=["false", "echo never"], max_retries=0)
    ran = run(failing)
    assert ran.returncode == 1
    assert "never" not in ran.stdout
    assert "exit code 1 of setup" in ran.stdout


def test_setup_may_read_variables_that_are_not_set(tmp_path: Path) -> None:
    ran = run(chain(tmp_path, "echo $MADE", setup=['export MADE="made $NOT_SET_ANYWHERE"']))
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "made")


def test_values_of_the_environment_are_text_with_variables(tmp_path: Path) -> None:
    value = 'a "b" \\ `id` $(id) $ 5 ${PLACE}/x $PLACE'
    ran = run(chain(tmp_path, 'printf %s "$VALUE"', environment={"VALUE": value}), PLACE="here")
    assert ran.stdout.startswith('a "b" \\ `id` $(id) $ 5 here/x here')


def test_a_variable_that_the_job_lacks_is_named(tmp_path: Path) -> None:
    ran = run(chain(tmp_path, "true", environment={"HF_HOME": "$NOT_SET/hf"}, max_retries=0))
    assert ran.returncode == 1
    assert "NOT_SET: is not set, and the cluster profile tests uses it" in ran.stderr


def test_nothing_in_a_command_is_expanded(tmp_path: Path) -> None:
    one = chain(tmp_path, "true")
    nasty = "$HOME `id` $(id) 'q' \"d\" \\ ; * é"
    job = replace(one.jobs[0], command=("printf", "<%s>", nasty))
    ran = run(replace(one, jobs=(job,)))
    assert ran.stdout.startswith(f"<{nasty}>")


def test_an_array_task_is_told_its_share(tmp_path: Path) -> None:
    one = chain(tmp_path, "true")
    resources = Resources(array=4)
    job = replace(one.jobs[0], command=("echo",), resources=resources, share_option=True)
    ran = run(replace(one, jobs=(job,)), SLURM_ARRAY_TASK_ID="2")
    assert ran.stdout.startswith("--share 2/4\n")
    assert run(replace(one, jobs=(job,))).returncode != 0


def test_temporary_files_go_to_scratch_and_are_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    one = chain(
        tmp_path,
        'echo "$TMPDIR"; readlink -f "$TMPDIR"; cat "$TMPDIR/made"',
        scratch="$LOCAL_DISK",
        scratch_gigabytes=0,
        node_setup=['echo made > "$SCRATCH_FOLDER/made"'],
    )
    ran = run(one, LOCAL_DISK=str(scratch))
    assert (ran.returncode, ran.stderr) == (0, "")
    _, link, folder, made, _ = ran.stdout.splitlines()
    assert Path(folder).parent == scratch
    assert made == "made"
    assert list(scratch.iterdir()) == []
    assert not Path(link).parent.exists()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"scratch": "$NOT_SET/x"}, "is no folder to write to"),
        ({"scratch": "/nowhere"}, "/nowhere is no folder to write to"),
        ({"scratch": "$HOME", "scratch_gigabytes": 10**7}, "less than 10000000 GB free"),
    ],
)
def test_without_scratch_temporary_files_go_where_they_did(
    tmp_path: Path, fields: dict[str, object], why: str
) -> None:
    ran = run(chain(tmp_path, 'readlink -f "$TMPDIR"', **fields), TMPDIR=str(tmp_path))
    assert ran.returncode == 0
    assert f"not used for temporary files: {fields['scratch']}".partition("$")[0] in ran.stdout
    assert why in ran.stdout


def test_a_signal_reaches_the_work_and_its_end_is_what_counts(tmp_path: Path) -> None:
    work = "trap 'exit 75' USR1; echo ready; while :; do sleep 0.1; done"
    for number in (signal.SIGUSR1, signal.SIGTERM):
        script = write(chain(tmp_path, work))
        with subprocess.Popen(
            ["bash", str(script)], env=without_slurm({}), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            said = process.stdout.read()
        assert process.returncode == 75
        stopped = number == signal.SIGUSR1
        assert ("stopped before its end: back into the queue" in said) == stopped
        assert ("cancelled, preempted or out of time" in said) != stopped


def test_other_jobs_are_readied_in_the_same_way(tmp_path: Path) -> None:
    profile = ClusterProfile(
        name="tests",
        scratch=str(tmp_path),
        scratch_gigabytes=0,
        environment={"A": "b"},
        node_setup=('echo made > "$SCRATCH_FOLDER/made"',),
        setup=('cat "$SCRATCH_FOLDER/made"',),
    )
    script = f'{preparation(profile)}\necho "$A" "$TMPDIR"\n'
    ran = subprocess.run(
        ["bash", "-c", script], env=without_slurm({}), capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[1] == "made"
    assert ran.stdout.splitlines()[2].startswith("b /tmp/actstore-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "a/b"}, "'a/b' cannot name a script"),
        ({"name": 'a"b'}, "cannot stand in a line for sbatch"),
        ({"name": "a\nb"}, "cannot stand in a line for sbatch"),
        ({"resources": Resources(time="2")}, "asks for 2, 120 seconds, but .* 120 seconds before"),
    ],
)
def test_a_job_that_cannot_run_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    one = chain(tmp_path, "true")
    job = replace(one.jobs[0], **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=message):
        render(one, job)


def test_a_folder_must_be_absolute() -> None:
    one = chain(Path("runs"), "true")
    with pytest.raises(InvalidInputError, match="must be absolute"):
        render(one, one.jobs[0])


if __name__ == "__main__":
    for file, text in golden_scripts().items():
        (GOLDEN / file).write_text(text)
