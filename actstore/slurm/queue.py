"""What SLURM says of submitted jobs, and cancelling them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from actstore.errors import ActstoreError, ClusterError
from actstore.slurm.logs import last_lines, log_file
from actstore.slurm.manifest import Manifest, SubmittedJob
from actstore.slurm.programs import call

UNKNOWN = "UNKNOWN"
"""SLURM has forgotten the job: it keeps ended ones for minutes, unless accounting is on."""

_ENDED_BADLY = (
    "BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT",
)  # fmt: skip
_ENDED = ("COMPLETED", UNKNOWN, *_ENDED_BADLY)


@dataclass(frozen=True)
class JobState:
    """Where one job, or one task of an array, stands."""

    stage: str
    name: str
    job_id: int
    task: int | None
    """Of an array, counted from 0."""
    state: str
    """SLURM's word (PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, …), or UNKNOWN."""
    reason: str
    """Why it waits or failed, in SLURM's words; empty if it says nothing."""
    node: str
    """Where it runs or ran; empty before."""
    seconds: int | None
    """For how long it has run since it was last started."""
    restarts: int | None
    """How often it was put back into the queue."""
    exit_code: int | None
    """Of the last run that ended; minus the signal's number if one killed it."""

    @property
    def ended(self) -> bool:
        """Whether it neither waits nor runs any more."""
        return self.state in _ENDED

    @property
    def failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.state in _ENDED_BADLY

    @property
    def label(self) -> str:
        """`extract[3]`: the stage, and which task of its array."""
        return self.stage if self.task is None else f"{self.stage}[{self.task}]"


def job_states(manifest: Manifest) -> list[JobState]:
    """Where all jobs of a submission stand, by stage and task.

    The queue is asked, then, for jobs it has forgotten, the accounting where there is one, then
    how their logs end; what none of them knows is UNKNOWN. Raises MissingDependencyError where
    there is no SLURM, ClusterError if it does not answer.
    """
    known = _of_queue(manifest.jobs)
    forgotten = [job for job in manifest.jobs if any(key not in known for key in job.parts())]
    if forgotten:
        known = _of_logs(manifest, forgotten) | _of_accounting(forgotten) | known
    return [
        _state(job, task, known.get((job_id, task), _Said(UNKNOWN, "no longer known to SLURM")))
        for job in manifest.jobs
        for job_id, task in job.parts()
    ]


def failures_first(states: Sequence[JobState]) -> list[JobState]:
    """Those that failed by themselves, then those that run, then all others, each in their order.

    What was cancelled before it ran is no failure of its own, and comes last.
    """
    return sorted(
        states, key=lambda one: 0 if one.failed and one.node else 1 if one.state == "RUNNING" else 2
    )


def living(jobs: Sequence[SubmittedJob]) -> list[JobState]:
    """Those jobs, and tasks of arrays, that wait or run. Raises as job_states does."""
    known = _of_queue(jobs)
    states = [
        _state(job, task, known[job_id, task])
        for job in jobs
        for job_id, task in job.parts()
        if (job_id, task) in known
    ]
    return [one for one in states if not one.ended]


def cancel(jobs: Sequence[SubmittedJob]) -> list[JobState]:
    """Cancel those of these jobs that wait or run; what they were doing.

    Raises as job_states does, and ClusterError if SLURM refuses.
    """
    found = living(jobs)
    if found:
        try:
            call(["scancel", *map(str, sorted({one.job_id for one in found}))])
        except ClusterError:
            # It also fails for a job that ended, or was put back into the queue, in that moment.
            if any(one.state != "COMPLETING" for one in living(jobs)):
                raise
    return found


def unfinished(states: Sequence[JobState]) -> str:
    """`extract (job 12: 3 RUNNING, 1 PENDING), eval (job 13: 1 PENDING)` of what has not ended."""
    counts: dict[tuple[str, int], Counter[str]] = {}
    for one in states:
        if not one.ended:
            counts.setdefault((one.stage, one.job_id), Counter())[one.state] += 1
    return ", ".join(
        f"{stage} (job {job_id}: {', '.join(f'{n} {state}' for state, n in found.items())})"
        for (stage, job_id), found in counts.items()
    )


@dataclass(frozen=True)
class _Said:
    state: str
    reason: str = ""
    node: str = ""
    seconds: int | None = None
    restarts: int | None = None
    exit_code: int | None = None


_Key = tuple[int, int | None]
"""Id of the job, and which task of its array."""

_QUEUE = (
    "ArrayJobID", "ArrayTaskID", "State", "Reason", "NodeList", "TimeUsed", "RestartCnt",
    "exit_code", "Name",
)  # fmt: skip
_ACCOUNTING = ("JobID", "State", "NodeList", "ElapsedRaw", "ExitCode")


def _state(job: SubmittedJob, task: int | None, said: _Said) -> JobState:
    return JobState(
        job.stage, job.name, job.job_id, task, said.state, said.reason, said.node, said.seconds,
        said.restarts, said.exit_code,
    )  # fmt: skip


def _of_queue(jobs: Sequence[SubmittedJob]) -> dict[_Key, _Said]:
    if not jobs:
        return {}
    # An id alone that is forgotten is an error; of two, those that are known are listed.
    ids = [str(job.job_id) for job in jobs]
    wanted = ",".join(ids if len(ids) > 1 else ids * 2)
    form = ",".join(f"{field}:|" for field in _QUEUE)
    try:
        listed = call(["squeue", "-h", "-r", "-t", "all", "-j", wanted, "-O", form])
    except ClusterError as error:
        if "Invalid job id" in str(error):
            return {}
        raise
    names = {job.job_id: job.name for job in jobs}
    known = {}
    for line in listed.splitlines():
        fields = line.rstrip().split("|", len(_QUEUE) - 1)
        if len(fields) < len(_QUEUE):  # a heading, where several clusters are asked
            continue
        job_id, task, state, reason, node, used, restarts, status, name = fields
        # Another cluster that reads the same disk has jobs of the same numbers.
        if names.get(int(job_id)) == name.removesuffix("|"):
            known[int(job_id), _number(task)] = _Said(
                state,
                "" if reason == "None" else reason,
                node,
                seconds_of(used),
                _number(restarts),
                _exit_code(_number(status)) if state in _ENDED else None,
            )
    return known


def _of_logs(manifest: Manifest, jobs: Sequence[SubmittedJob]) -> dict[_Key, _Said]:
    """What the logs say in their last line of scripts that came to their end."""
    known = {}
    for job in jobs:
        for job_id, task in job.parts():
            last = " ".join(last_lines(log_file(manifest, job.stage, job_id, task), 1))
            if last.endswith(f"stage {job.stage}: done"):
                known[job_id, task] = _Said("COMPLETED", "as its log says")
            elif f"ERROR: stage {job.stage}" in last and "back into the queue" not in last:
                known[job_id, task] = _Said("FAILED", "as its log says")
    return known


def _of_accounting(jobs: Sequence[SubmittedJob]) -> dict[_Key, _Said]:
    """What sacct knows; nothing where accounting is off."""
    ids = ",".join(str(job.job_id) for job in jobs)
    try:
        listed = call(["sacct", "-n", "-P", "-X", "-j", ids, "-o", ",".join(_ACCOUNTING)])
    except ActstoreError:
        return {}
    known = {}
    for line in listed.splitlines():
        fields = line.split("|")
        match = re.fullmatch(r"(\d+)(?:_(\d+))?", fields[0])
        if match and len(fields) == len(_ACCOUNTING):
            state, node, elapsed, code = fields[1:]
            status, _, signal = code.partition(":")
            known[int(match[1]), _number(match[2] or "")] = _Said(
                state.split()[0],  # `CANCELLED by 1000`
                node=node,
                seconds=_number(elapsed),
                exit_code=-int(signal) if signal not in ("", "0") else _number(status),
            )
    return known


def seconds_of(used: str) -> int | None:
    """Seconds of SLURM's `MM:SS`, `HH:MM:SS` or `D-HH:MM:SS`; None for anything else."""
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", used)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _exit_code(status: int | None) -> int | None:
    """Of a wait status, as squeue gives it."""
    if status is None:
        return None
    return -(status & 127) if status & 127 else status >> 8


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
