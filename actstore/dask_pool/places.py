"""Where Dask workers are: on this machine, in SLURM jobs, or at a scheduler that runs already."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from actstore.errors import InvalidInputError

LOCAL, SLURM = "local", "slurm"
_ADDRESS = re.compile(r"[a-z]+://[^\s/]\S*")


@dataclass(frozen=True)
class WorkerJobs:
    """SLURM jobs that run Dask workers, each process one call at a time."""

    options: tuple[str, ...]
    """What sbatch is asked for, `--partition=cpu`; how many cores is added."""
    setup: tuple[str, ...] = ()
    """Shell lines before the worker starts."""
    processes: int = 1
    """Of a job."""
    maximum_jobs: int = 4
    memory: str | None = None
    """Of a job in SLURM's notation, `8G`: its workers spill and pause before they exceed it."""
    interface: str | None = None
    """The network that workers and this process see each other on; the default one's if None."""


@dataclass(frozen=True)
class DaskPlace:
    """Where to compute."""

    where: str
    """`local`, `slurm`, or the address of a scheduler."""
    processes: int = 1
    """Of `local`."""
    jobs: WorkerJobs | None = None
    """Of `slurm`."""
    dashboard: bool = True
    """Serve Dask's dashboard and say where."""

    def __post_init__(self) -> None:
        check_dask(self.where)
        if self.where == SLURM and self.jobs is None:
            raise InvalidInputError(
                "Dask workers on SLURM need a cluster profile, which says what their jobs ask for. "
                "Name one: --dask slurm --cluster NAME"
            )


@dataclass(frozen=True)
class WorkerNeeds:
    """What workers must have for results to be those of this process."""

    store: str
    """Its URL or absolute path: workers have other working folders."""
    packages: tuple[str, ...] = ()
    """Of the same version as here, besides actstore."""
    threads: int = 1
    """Cores that a worker of our own computes with."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that workers of our own find when they start."""


def check_dask(where: str) -> str:
    """`where` if it is something to compute on: local, slurm, or an address.

    Raises InvalidInputError with what can be given.
    """
    if where in (LOCAL, SLURM) or _ADDRESS.fullmatch(where):
        return where
    near = difflib.get_close_matches(where, (LOCAL, SLURM), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InvalidInputError(
        f"Cannot compute on {where!r} with Dask.{hint} Give local (processes of this machine), "
        "slurm (jobs of a cluster) or the address of a scheduler: tcp://node1:8786"
    )
