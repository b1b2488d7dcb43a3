"""What `actstore slurm` prints."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from actstore.present.terminal import duration, lines, table, when
from actstore.refs import ranges

if TYPE_CHECKING:
    from actstore.slurm.manifest import Manifest
    from actstore.slurm.queue import JobState

_MEANINGS = {
    "BeginTime": "it was put back into the queue, and SLURM lets it wait a moment",
    "Dependency": "it waits for the stages before it",
    "DependencyNeverSatisfied": "a stage that it waits for failed or was cancelled",
    "JobArrayTaskLimit": "as many of its tasks run at once as `at_once` allows",
    "JobHeldAdmin": "an administrator holds it back",
    "JobHeldUser": "it is held back; scontrol release lets it go on",
    "Priority": "jobs before it in the queue wait too",
    "Resources": "nothing of what it asks for is free now",
}
"""The reasons that SLURM gives most often."""


def show_submission(manifest: Manifest) -> None:
    """`actstore slurm submit`."""
    stages = {job.job_id: job.stage for job in manifest.jobs}
    table(
        ["stage", "job", "tasks", "after"],
        [
            (
                job.stage,
                str(job.job_id),
                job.tasks or "–",
                ", ".join(stages[one] for one in job.after) or "–",
            )
            for job in manifest.jobs
        ],
        title=f"{manifest.experiment} on {manifest.cluster}: {len(manifest.jobs)} jobs submitted",
    )
    folder = quote(str(manifest.folder))
    lines(
        f"Scripts and logs: {manifest.folder}",
        f"How it stands:    actstore slurm status {folder}",
        f"What it writes:   actstore slurm logs {folder} --follow",
        f"To end it:        actstore slurm cancel {folder}",
    )


def show_jobs(manifest: Manifest, states: Sequence[JobState]) -> None:
    """`actstore slurm status`: a line for all tasks of a stage that stand the same."""
    alike: dict[tuple[str, int, str, str], list[JobState]] = {}
    for one in states:
        alike.setdefault((one.stage, one.job_id, one.state, _why(one)), []).append(one)
    table(
        ["stage", "job", "state", "tasks", "nodes", "for", "restarts"],
        [
            (stage, str(job_id), state, _tasks(same), _nodes(same), _for(same), _most(same))
            for (stage, job_id, state, _), same in alike.items()
        ],
        title=f"{manifest.experiment} on {manifest.cluster}, submitted {when(manifest.started)}",
    )
    reasons = {f"- {stage} {state}: {why}": None for (stage, _, state, why) in alike if why}
    lines(*reasons, f"Scripts and logs: {manifest.folder}")


def show_cancelled(manifest: Manifest, cancelled: Sequence[JobState]) -> None:
    """`actstore slurm cancel`."""
    from actstore.slurm.queue import unfinished

    if not cancelled:
        lines(f"No job of {manifest.experiment} was waiting or running ({manifest.folder}).")
        return
    lines(
        f"Cancelled: {unfinished(cancelled)}.",
        "What is in the store stays: submit again, and it goes on from there.",
    )


def show_log(state: JobState, path: str, last: Sequence[str]) -> None:
    """A job's log in `actstore slurm logs`: which, where it stands, and the last lines."""
    code = f", exit code {state.exit_code}" if state.exit_code else ""
    lines(f"== {state.label} (job {state.job_id}) {state.state}{code}: {path}")
    lines(*(last or ["(nothing yet)"]))


def show_log_line(state: JobState, line: str) -> None:
    """A new line in `actstore slurm logs --follow`."""
    lines(f"{state.label}: {line}")


def _why(one: JobState) -> str:
    """Why it waits or failed: SLURM's word, to be looked up by, and what it means."""
    if one.state == "CANCELLED" and one.reason != "DependencyNeverSatisfied":
        return ""  # it keeps the reason for which it waited
    if one.failed and one.exit_code:
        return f"exit code {one.exit_code}"
    return ": ".join(filter(None, [one.reason, _MEANINGS.get(one.reason)]))


def _tasks(same: Sequence[JobState]) -> str:
    tasks = [one.task for one in same if one.task is not None]
    return ranges(tasks) if tasks else "–"


def _nodes(same: Sequence[JobState]) -> str:
    return ", ".join(sorted({one.node for one in same if one.node})) or "–"


def _for(same: Sequence[JobState]) -> str:
    longest = max((one.seconds for one in same if one.seconds is not None), default=0)
    return duration(longest) if longest else "–"


def _most(same: Sequence[JobState]) -> object:
    return max((one.restarts for one in same if one.restarts is not None), default=0)
