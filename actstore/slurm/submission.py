"""Giving a chain of jobs to SLURM: scripts into the run folder, then one sbatch after another."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from actstore.errors import ActstoreError, ClusterError, InvalidInputError
from actstore.slurm.manifest import (
    Manifest,
    SubmittedJob,
    begin_manifest,
    manifests_in,
    write_manifest,
)
from actstore.slurm.programs import call, require
from actstore.slurm.queue import cancel, living, unfinished

if TYPE_CHECKING:
    from actstore.slurm.jobs import Chain, Job

_NONE: Mapping[str, str] = MappingProxyType({})


def submit(
    chain: Chain, *, files: Mapping[str, str] = _NONE, digest: str = "", again: bool = False
) -> Manifest:
    """Write a chain's scripts to its folder and submit all its jobs; what was submitted.

    Each job waits for all tasks of those it comes after, and is cancelled by SLURM if one of them
    fails for good. The manifest is written after each job.
    files: what the jobs read, by name in the run folder. digest: of the resolved experiment, for
    the manifest. again: cancel what is still queued or running of an earlier submission of that
    name beside this folder.
    Raises MissingDependencyError where there is no sbatch, InvalidInputError if jobs of an earlier
    submission are still queued or running, and ClusterError with sbatch's words if it refuses one:
    the others are cancelled then.
    """
    require("sbatch")
    _make_way(chain, again)
    write_scripts(chain)
    for name, text in files.items():
        (chain.folder / name).write_text(text, encoding="utf-8")
    manifest = begin_manifest(chain.folder, chain.name, digest, chain.profile.name)
    write_manifest(manifest)
    ids: dict[str, int] = {}
    try:
        for job in chain.jobs:
            ids[job.stage] = _sbatch(chain, job, ids)
            manifest = manifest.with_job(_submitted(chain, job, ids))
            write_manifest(manifest)
    except BaseException as error:  # Ctrl-C too: half a chain would run for nothing
        _take_back(manifest, error)
        raise
    return manifest


def write_scripts(chain: Chain) -> list[Path]:
    """Write every job's script into the run folder, and make the folder of the logs; the scripts.

    sbatch keeps a copy of its own: scripts of jobs that wait can be replaced.
    """
    from actstore.slurm.scripts import render

    chain.logs.mkdir(parents=True, exist_ok=True)  # jobs whose log has no folder fail unseen
    written = []
    for job in chain.jobs:
        path = chain.script(job.stage)
        path.write_text(render(chain, job), encoding="utf-8")
        path.chmod(0o755)
        written.append(path)
    return written


def sbatch_command(chain: Chain, job: Job, ids: Mapping[str, object]) -> list[str]:
    """The command that submits a job.

    ids: of the stages submitted before, or what stands for them. Raises InvalidInputError if the
    job waits for a stage that is not among them.
    """
    missing = [stage for stage in job.after if stage not in ids]
    if missing:
        raise InvalidInputError(
            f"The stage {job.stage} waits for {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not submitted before it. In this order: "
            f"{', '.join(one.stage for one in chain.jobs)}."
        )
    command = ["sbatch", "--parsable", f"--chdir={chain.folder}"]
    if job.after:
        command += [
            "--dependency=afterok:" + ":".join(str(ids[stage]) for stage in job.after),
            "--kill-on-invalid-dep=yes",
        ]
    return [*command, str(chain.script(job.stage))]


def dry_run(chain: Chain) -> str:
    """Every script, and the commands that would submit them, as text; nothing is written."""
    from actstore.slurm.scripts import render

    scripts = [
        f"# ==== {chain.script(job.stage)}\n{render(chain, job).rstrip()}\n" for job in chain.jobs
    ]
    ids = {job.stage: f"ID_OF_{job.stage.upper()}" for job in chain.jobs}
    commands = [shlex.join(sbatch_command(chain, job, ids)) for job in chain.jobs]
    return "\n".join([*scripts, "# ==== submitted by, with the ids these print", *commands, ""])


def _make_way(chain: Chain, again: bool) -> None:
    """See to it that no job of an earlier submission waits or runs, with whatever settings."""
    earlier = [one for one in manifests_in(chain.folder.parent) if one.experiment == chain.name]
    jobs = [job for manifest in earlier for job in manifest.jobs]
    alive = living(jobs)
    if alive and not again:
        ids = {one.job_id for one in alive}
        latest = next(m for m in earlier if ids & {job.job_id for job in m.jobs})
        folder = shlex.quote(str(latest.folder))
        raise InvalidInputError(
            f"{chain.name} was submitted before and is not finished: {unfinished(alive)}. "
            f"See: actstore slurm status {folder}. End it: actstore slurm cancel {folder}. "
            "Or give --again to cancel it and submit anew: what is in the store stays."
        )
    if alive:
        cancel(jobs)


def _sbatch(chain: Chain, job: Job, ids: Mapping[str, int]) -> int:
    command = sbatch_command(chain, job, ids)
    said = call(command, folder=chain.folder).strip()
    number = said.splitlines()[-1].partition(";")[0] if said else ""  # `123;cluster`
    if not number.isdigit():
        raise ClusterError(
            f"`{shlex.join(command)}` did not say which job it submitted, but: {said!r}. It may be "
            f"in the queue: squeue --me --name={shlex.quote(job.name)}"
        )
    return int(number)


def _submitted(chain: Chain, job: Job, ids: Mapping[str, int]) -> SubmittedJob:
    return SubmittedJob(
        stage=job.stage,
        name=job.name,
        job_id=ids[job.stage],
        script=chain.script(job.stage).name,
        tasks=job.resources.array,
        after=tuple(ids[stage] for stage in job.after),
        submitted=time.time(),
    )


def _take_back(manifest: Manifest, error: BaseException) -> None:
    """Cancel what was submitted; what that leaves is said with the error."""
    if not manifest.jobs:
        return
    listed = ", ".join(f"{job.stage} ({job.job_id})" for job in manifest.jobs)
    try:
        cancel(manifest.jobs)
    except ActstoreError as reason:
        error.add_note(f"Submitted before it and still in the queue: {listed}: {reason}")
    else:
        error.add_note(f"Submitted before it, cancelled now: {listed}.")
