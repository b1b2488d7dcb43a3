"""Calling SLURM's own commands."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from actstore.errors import ClusterError, MissingDependencyError

_SECONDS = 120
"""A controller that is busy or restarting answers late; SLURM's own commands retry meanwhile."""


def require(program: str) -> None:
    """Raises MissingDependencyError unless SLURM's command of this name is on PATH."""
    if shutil.which(program) is None:
        raise MissingDependencyError(
            f"There is no {program} on PATH: SLURM cannot be reached from here. Log in to a "
            "cluster's login node (or: module load slurm). Without SLURM, all stages run on this "
            "machine by: actstore run EXPERIMENT.yaml"
        )


def call(command: Sequence[str], *, folder: Path | None = None) -> str:
    """What one of SLURM's commands printed.

    folder: where it runs. Raises MissingDependencyError if it is not there, and ClusterError with
    its own words if it fails or does not answer within two minutes.
    """
    require(command[0])
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"`{shlex.join(command)}` gave no answer within {_SECONDS} s. SLURM's controller may "
            "be down or busy; see: scontrol ping. Then run the same command again."
        ) from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()) or "it said nothing"
        raise ClusterError(f"`{shlex.join(command)}` failed ({done.returncode}): {words}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Ours without what a SLURM job was told of itself.

    Who submits from within a job (`salloc`, `srun --pty bash`) passes its environment on: a job
    that is no array would think it is task 3 of one. Where the cluster is stays.
    """
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in kept
    }
