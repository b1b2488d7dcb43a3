"""What is submitted: jobs, one for each stage, and which waits for which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actstore.slurm.profile import ClusterProfile
    from actstore.slurm.resources import Resources


@dataclass(frozen=True)
class Job:
    """One stage as SLURM runs it."""

    stage: str
    """Names its script and its logs: letters, digits, `-` and `_`."""
    name: str
    """What squeue shows."""
    command: tuple[str, ...]
    """Program and arguments, as they are: nothing in them is expanded."""
    resources: Resources
    """All that is asked for, profile included: see `ClusterProfile.resources`."""
    launch: bool = False
    """Start it through srun, once for each GPU of every node."""
    after: tuple[str, ...] = ()
    """Stages that must have succeeded before."""
    share_option: bool = False
    """Tell each array task its part: `--share INDEX/COUNT` is appended to the command."""


@dataclass(frozen=True)
class Chain:
    """Jobs that are submitted together."""

    name: str
    """The experiment's."""
    folder: Path
    """Absolute folder of scripts, logs and manifest, which every node can reach."""
    jobs: tuple[Job, ...]
    """In an order in which each comes after those it waits for."""
    profile: ClusterProfile
    """The cluster's ways: setup, scratch, signals, requeues."""

    @property
    def logs(self) -> Path:
        """Where jobs write; it must exist before they start, or SLURM fails them in silence."""
        return self.folder / "logs"

    def script(self, stage: str) -> Path:
        """The file of a stage's script."""
        return self.folder / f"{stage}.sbatch"

    def log_pattern(self, job: Job) -> str:
        """File name of a job's logs with SLURM's placeholders: %A_%a of arrays, %j of others."""
        return f"{job.stage}-{'%A_%a' if job.resources.array else '%j'}.out"
