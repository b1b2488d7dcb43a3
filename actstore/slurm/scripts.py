"""The whole sbatch script of a job: plain bash, which people can read, edit and submit by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from actstore.errors import InvalidInputError
from actstore.slurm.jobs import Chain, Job
from actstore.slurm.profile import ClusterProfile
from actstore.slurm.resources import Resources, time_in_seconds
from actstore.slurm.shell import expanded, folder_if_set, sbatch_value

_BASH = Path(__file__).parent / "bash"
_HUB_CACHE = '"${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/huggingface}/hub}"'


def render(chain: Chain, job: Job) -> str:
    """The sbatch script of a job. Depends on nothing else: the same job, the same bytes.

    Raises InvalidInputError for a job that SLURM could not run: a time limit shorter than the
    warning before it, a folder that is not absolute, names that sbatch cannot take.
    """
    _check(chain, job)
    parts = (
        "#!/usr/bin/env bash",
        *_comments(chain, job),
        *_directives(chain, job),
        "",
        "set -eo pipefail # and -u below: setup lines of clusters often read unset variables",
        *_settings(chain, job),
        "",
        _bash("job"),
        _bash("stopping"),
        *_node_functions(chain.profile, job),
        "wait_before_retry",
        *_environment(chain.profile, job),
        *_node_preparation(chain.profile, job),
        *chain.profile.setup,
        "",
        "set -u",
        f"phase={shlex.quote(Path(job.command[0]).name)}",
        f"attend {_command(chain.profile, job)}",
        "",
    )
    return "\n".join(parts)


def preparation(profile: ClusterProfile) -> str:
    """Bash that readies a job of one node whose script is not made here, as of Dask workers.

    Environment, a folder on the node's own disk, `node_setup` and `setup`: what `render` does.
    """
    job = Job("dask", "dask", (), Resources())
    lines = (
        _bash("job"),
        'told=""\nattend() { "$@"; }\n',
        *_node_functions(profile, job),
        *_environment(profile, job),
        *_node_preparation(profile, job),
        "trap clean_up EXIT",
        *profile.setup,
    )
    return "\n".join(lines)


def _check(chain: Chain, job: Job) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", job.stage):
        raise InvalidInputError(
            f"{job.stage!r} cannot name a script: write letters, digits, - and _ only."
        )
    if not chain.folder.is_absolute():
        raise InvalidInputError(f"The folder {chain.folder} of a submission must be absolute.")
    limit = time_in_seconds(job.resources.time) if job.resources.time else None
    if limit is not None and limit <= chain.profile.signal_seconds:
        raise InvalidInputError(
            f"Stage {job.stage} asks for {job.resources.time}, {limit} seconds, but jobs are told "
            f"to stop {chain.profile.signal_seconds} seconds before their limit. Ask for more "
            f"time, or lower signal_seconds of the cluster profile {chain.profile.name}."
        )


def _comments(chain: Chain, job: Job) -> Iterator[str]:
    experiment = chain.name if chain.name.isprintable() else repr(chain.name)
    yield f"# Stage {job.stage} of the experiment {experiment}."
    yield "# Made by `actstore slurm submit`. Running it again is safe: what is committed stays."
    yield f"# Cluster profile: {chain.profile.name}."
    after = f"   (once these are done: {', '.join(job.after)})" if job.after else ""
    yield f"# By hand: sbatch {shlex.quote(str(chain.script(job.stage)))}{after}"


def _directives(chain: Chain, job: Job) -> Iterator[str]:
    logs = str(chain.logs).replace("%", "%%")
    yield f"#SBATCH --job-name={sbatch_value(job.name)}"
    yield f"#SBATCH --chdir={sbatch_value(chain.folder)}"
    yield f"#SBATCH --output={sbatch_value(f'{logs}/{chain.log_pattern(job)}')}"
    yield "#SBATCH --open-mode=append"
    yield "#SBATCH --requeue"
    yield f"#SBATCH --signal=B:USR1@{chain.profile.signal_seconds}"
    yield from (f"#SBATCH --{option}" for option in _options(job))
    yield from job.resources.extra


def _options(job: Job) -> Iterator[str]:
    """Resources as sbatch takes them."""
    asked = job.resources
    if asked.array:
        throttle = f"%{asked.at_once}" if asked.at_once else ""
        yield f"array=0-{asked.array - 1}{throttle}"
    yield f"nodes={_nodes(job)}"
    yield f"ntasks-per-node={_tasks(job)}"
    values = {
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "gres": asked.gres,
        "gpus-per-node": asked.gpus_per_node,
        "cpus-per-task": asked.cpus_per_task,
        "mem": asked.memory,
        "time": asked.time,
        "nodelist": asked.nodelist,
        "exclude": asked.exclude,
    }
    yield from (f"{name}={value}" for name, value in values.items() if value)
    if asked.nice is not None:
        yield f"nice={asked.nice}"
    if asked.exclusive:
        yield "exclusive"


def _nodes(job: Job) -> int:
    """Only what srun starts can use more nodes than one."""
    return job.resources.nodes or 1 if job.launch else 1


def _tasks(job: Job) -> int:
    """Workers of a node."""
    return (job.resources.tasks_per_node or job.resources.gpus or 1) if job.launch else 1


def _settings(chain: Chain, job: Job) -> Iterator[str]:
    profile = chain.profile
    yield f"stage='{job.stage}'"
    yield f"logs={shlex.quote(str(chain.logs))}"
    yield f"max_requeues={profile.max_requeues}"
    yield f"max_retries={profile.max_retries}"
    yield f"retry_seconds={profile.retry_seconds}"


def _node_functions(profile: ClusterProfile, job: Job) -> Iterator[str]:
    """bash functions for what is done once on each node, and undone at the end."""
    if not _uses_node_folder(profile):
        yield "clean_up() { :; }\n"
        return
    yield _bash("node_folder")
    helpers = ["say", "gigabytes_free", "make_node_folder", "remove_node_folder"]
    if _stages_hub_cache(profile, job):
        yield _bash("hub_cache")
        helpers.append("stage_hub_cache")
    if profile.node_setup:
        lines = "\n".join(f"    {line}" for line in profile.node_setup)
        yield f"node_setup() {{\n{lines}\n}}\n"
        helpers.append("node_setup")
    yield _on_each_node(_nodes(job), helpers)


def _uses_node_folder(profile: ClusterProfile) -> bool:
    return bool(profile.scratch or profile.node_setup)


def _stages_hub_cache(profile: ClusterProfile, job: Job) -> bool:
    return profile.stage_hub_cache and profile.scratch is not None and job.launch


def _on_each_node(nodes: int, helpers: list[str]) -> str:
    """The bash function that runs another one, which may need those helpers, on every node."""
    if nodes == 1:
        return 'on_each_node() { "$@"; }\n'
    return f"""on_each_node() {{
    local helpers
    helpers=$(declare -f {" ".join(helpers)})
    exec srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --export=ALL \\
        bash -c "set -eo pipefail; $helpers; $1"
}}
"""


def _environment(profile: ClusterProfile, job: Job) -> Iterator[str]:
    used_by = f"the cluster profile {profile.name}"
    yield "export PYTHONUNBUFFERED=1"
    if job.launch and job.resources.cpus_per_task:
        yield f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{job.resources.cpus_per_task}}}"'
    for name, value in profile.environment.items():
        yield f"export {name}={expanded(value, used_by)}"


def _node_preparation(profile: ClusterProfile, job: Job) -> Iterator[str]:
    if not _uses_node_folder(profile):
        return
    yield f"export scratch={folder_if_set(profile.scratch or '')}"
    yield f"export scratch_gigabytes={profile.scratch_gigabytes}"
    yield "attend on_each_node make_node_folder"
    yield 'export TMPDIR="$SCRATCH_FOLDER"'
    if _stages_hub_cache(profile, job):
        yield f"export hub_cache={_HUB_CACHE}"
        yield "attend on_each_node stage_hub_cache"
        yield 'export HF_HUB_CACHE="$SCRATCH_FOLDER/hub"'
    if profile.node_setup:
        yield "attend on_each_node node_setup"


def _command(profile: ClusterProfile, job: Job) -> str:
    words = [shlex.quote(word) for word in job.command]
    if job.share_option and job.resources.array:
        words += ["--share", f'"${{SLURM_ARRAY_TASK_ID:?}}/{job.resources.array}"']
    if not job.launch:
        return " ".join(words)
    srun = " ".join(_srun(profile, job.resources, _nodes(job), _tasks(job)))
    return f"{srun} \\\n    {' '.join(words)}"


def _srun(profile: ClusterProfile, asked: Resources, nodes: int, tasks: int) -> Iterator[str]:
    """srun with a worker for each GPU; its exit code is the highest of theirs."""
    yield "srun --kill-on-bad-exit=0 --export=ALL"
    yield f"--nodes={nodes} --ntasks={nodes * tasks} --ntasks-per-node={tasks}"
    if asked.cpus_per_task:
        yield f"--cpus-per-task={asked.cpus_per_task}"
    if profile.bind_gpus and asked.gpus == tasks:
        yield "--gpus-per-task=1"
    if nodes * tasks > 1:
        yield "--label"


def _bash(name: str) -> str:
    return (_BASH / f"{name}.sh").read_text(encoding="utf-8")
