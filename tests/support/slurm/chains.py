"""Chains of small shell commands, and waiting for them."""

from __future__ import annotations

from pathlib import Path

from actstore.slurm.jobs import Chain, Job
from actstore.slurm.manifest import Manifest
from actstore.slurm.profile import ClusterProfile
from actstore.slurm.queue import JobState, job_states
from actstore.slurm.resources import Resources
from tests.support.slurm.cluster import wait_until

SMALL = Resources(memory="200M", time="00:10:00", cpus_per_task=1)
"""Little enough for several at once on one node."""


def profile(**changes: object) -> ClusterProfile:
    """A profile of the tests' SLURM that retries nothing, unless changed so."""
    fields: dict[str, object] = {"name": "tests", "max_retries": 0, "default": SMALL}
    return ClusterProfile(**{**fields, **changes})  # type: ignore[arg-type]


def shell(
    stage: str,
    script: str,
    *after: str,
    resources: Resources | None = None,
    launch: bool = False,
    share: bool = False,
) -> Job:
    """A job that runs a line of bash."""
    command = ("bash", "-c", script, stage)
    wanted = SMALL if resources is None else resources.over(SMALL)
    return Job(stage, f"t-{stage}", command, wanted, launch, after, share)


def chain(folder: Path, *jobs: Job, **changes: object) -> Chain:
    """These jobs, to be submitted from a folder with a space and a quote in its name."""
    return Chain("an experiment", folder / "it's a run", jobs, profile(**changes))


def wait_for_end(manifest: Manifest, seconds: float = 90) -> dict[str, str]:
    """Wait until no job waits or runs; the state of each, by `stage` or `stage[task]`."""
    wait_until(
        lambda: all(one.ended for one in job_states(manifest)), seconds, lambda: _say(manifest)
    )
    return {one.label: one.state for one in job_states(manifest)}


def wait_for(manifest: Manifest, label: str, state: str, seconds: float = 60) -> JobState:
    """Wait until a job stands so."""

    def found() -> list[JobState]:
        return [one for one in job_states(manifest) if (one.label, one.state) == (label, state)]

    wait_until(found, seconds, lambda: _say(manifest))
    return found()[0]


def _say(manifest: Manifest) -> str:
    logs = sorted((manifest.folder / "logs").glob("*"))
    return "\n".join(
        [*map(str, job_states(manifest)), *(f"== {p.name}\n{p.read_text()[-3000:]}" for p in logs)]
    )
