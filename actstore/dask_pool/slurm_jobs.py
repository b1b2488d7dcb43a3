"""Dask workers in SLURM jobs, as many as there is work for; jobs that end are replaced."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed import Adaptive
from distributed.core import Status
from distributed.deploy.spec import SpecCluster
from tornado.ioloop import PeriodicCallback

from actstore.addresses import beside
from actstore.dask_pool.places import WorkerJobs, WorkerNeeds
from actstore.errors import ClusterError, InvalidInputError, MissingDependencyError

_LOOK_SECONDS = 5.0
"""Between looks at which jobs there still are."""
_IDLE_SECONDS = 60
"""A worker there is no work for ends after so long: the next one would have to queue again."""
_STARTS = 3
"""Jobs that end before a worker of theirs joined, one after the other, until that is an error."""
_DEATH_SECONDS = 60
"""A worker that does not reach this process for so long ends."""
_TAIL_LINES = 12


@contextmanager
def worker_jobs(jobs: WorkerJobs, needs: WorkerNeeds, *, dashboard: bool) -> Iterator[_Cluster]:
    """A cluster of at least one job; all of them are cancelled at the end of the block.

    Raises MissingDependencyError without sbatch, InvalidInputError for a network there is not.
    """
    if shutil.which("sbatch") is None:
        raise MissingDependencyError(
            "--dask slurm starts workers by sbatch, which is not on the PATH here. Run this on a "
            "machine of the cluster that submits jobs, or use --dask local."
        )
    logs = beside(needs.store, ".runs") / "dask"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        cluster = _Cluster(**_settings(jobs, needs, logs), scheduler_options=_scheduler(dashboard))
    except (RuntimeError, ValueError) as error:
        raise InvalidInputError(
            f"No Dask scheduler can be started here for the workers: {error}. Is "
            f"`dask: interface: {jobs.interface}` of the cluster profile a network of this machine?"
        ) from error
    with cluster:
        cluster.begin(jobs, logs)
        yield cluster


def job_script(jobs: WorkerJobs, needs: WorkerNeeds, logs: Path, scheduler: str) -> str:
    """The script of a worker's job, as sbatch gets it."""
    settings = _settings(jobs, needs, logs)
    settings["config_name"] = "slurm"
    script: str = _Job(scheduler, name="actstore-0", **settings).job_script()
    return script


def _scheduler(dashboard: bool) -> dict[str, Any]:
    return {"dashboard": dashboard, "dashboard_address": ":0"}


def _settings(jobs: WorkerJobs, needs: WorkerNeeds, logs: Path) -> dict[str, Any]:
    """For dask-jobqueue: all `#SBATCH` lines are ours, quoted and complete."""
    options = (
        "--job-name=actstore-dask",
        *jobs.options,
        "--ntasks=1",
        f"--cpus-per-task={jobs.processes * needs.threads}",
        f"--output={logs}/worker-%j.out",
    )
    exported = [f"export {name}={shlex.quote(v)}" for name, v in needs.environment.items()]
    return {
        "cores": jobs.processes,
        "processes": jobs.processes,
        "memory": _bytes_of(jobs.memory),
        "interface": jobs.interface,
        "job_directives_skip": ["#SBATCH"],
        "job_extra_directives": [_quoted(option) for option in options],
        "job_script_prologue": [*jobs.setup, *exported],
        "worker_extra_args": [],
        "local_directory": '"${TMPDIR:-/tmp}"',
        "death_timeout": _DEATH_SECONDS,
        "python": shlex.quote(sys.executable),
        "shebang": "#!/usr/bin/env bash",
    }


def _quoted(option: str) -> str:
    """sbatch splits its lines at white space that is not in double quotes."""
    return option if shlex.quote(option) == option else '"{}"'.format(option.replace('"', ""))


def _bytes_of(memory: str | None) -> str:
    """SLURM's `8G`, megabytes without a unit, as Dask reads it; 0 for no limit of Dask's own."""
    if not memory or memory.rstrip("KMGT") == "0":
        return "0"
    return f"{memory if memory[-1] in 'KMGT' else f'{memory}M'}iB"


class _Job(SLURMJob):  # type: ignore[misc]  # dask-jobqueue has no types
    """A job whose refusal is kept, and not only logged."""

    refusal: str | None = None

    async def start(self) -> None:
        try:
            await super().start()
        except RuntimeError as error:
            self.refusal = _said_by_sbatch(str(error))
            self.status = Status.running  # as far as its cluster goes: it is looked at later

    async def close(self) -> None:
        await super().close()
        self.status = Status.closed

    async def _submit_job(self, script: str) -> str:
        return str(await self._call(["sbatch", script], env=_environment()))


class _Adaptive(Adaptive):  # type: ignore[misc]
    """As many workers as there are calls under way: each may be a graph of many tasks or one."""

    async def target(self) -> int:
        busy: int = await super().target()
        unfinished: int = self.cluster.unfinished
        return max(busy, unfinished)


class _Cluster(SLURMCluster):  # type: ignore[misc]
    """Workers in jobs. A job that ended is found in the queue, since nobody else says so."""

    job_cls = _Job
    unfinished = 1
    problem: str | None = None
    failed_starts = 0
    looks: Any = None

    def begin(self, jobs: WorkerJobs, logs: Path) -> None:
        """Submit the first job, and from now on what there is work for."""
        self.logs = logs
        self.joined: set[str] = set()
        self.adaptive = self.adapt(
            Adaptive=_Adaptive,
            minimum_jobs=1,
            maximum_jobs=jobs.maximum_jobs,
            interval="1s",
            wait_count=_IDLE_SECONDS,
        )
        self.looks = PeriodicCallback(self._look, 1000 * _LOOK_SECONDS)
        self.loop.add_callback(self.looks.start)

    def watch(self, unfinished: int) -> None:
        """Says how many calls there are; raises ClusterError where workers cannot be had."""
        self.unfinished = unfinished
        if self.problem is not None:
            raise ClusterError(self.problem)

    async def _close(self) -> None:
        if self.looks is not None:
            self.looks.stop()
        await super()._close()

    def _update_worker_status(self, op: str, message: Any) -> None:
        """As all clusters do; SpecCluster would also cancel what replaced a lost worker."""
        if op == "add":
            names = {str(worker["name"]) for worker in message["workers"].values()}
            self.joined |= {
                job.job_id for name, job in self.workers.items() if names & self._names(name)
            }
            self.failed_starts = 0
        super(SpecCluster, self)._update_worker_status(op, message)

    def _names(self, name: str) -> set[str]:
        """Of a job's workers."""
        return {str(name), *(f"{name}{end}" for end in self.worker_spec[name].get("group", ()))}

    async def _look(self) -> None:
        """Forget jobs that ended, so that others are submitted in their place."""
        jobs = {name: job for name, job in self.workers.items() if name in self.worker_spec}
        queued = await _queued()
        for name, job in jobs.items():
            if job.refusal is not None:
                self._refused(name, job.refusal)
            elif queued is not None and job.job_id is not None and job.job_id not in queued:
                self._ended(job.job_id)
            else:
                continue
            self.workers.pop(name, None)

    def _refused(self, name: str, words: str) -> None:
        """Do with the jobs there are; without any, give up."""
        others = [job for job in self.workers.values() if job.refusal is None]
        if not others:
            self.problem = f"SLURM refused a job for Dask workers: {words}"
        self.worker_spec.pop(name, None)
        self.adaptive.maximum = len(self.plan)

    def _ended(self, job_id: str) -> None:
        if job_id in self.joined:
            return
        self.failed_starts += 1
        if self.failed_starts >= _STARTS:
            log = self.logs / f"worker-{job_id}.out"
            self.problem = (
                f"{self.failed_starts} SLURM jobs for Dask workers ended before a worker joined, "
                f"the last was {job_id}. The end of {log}:\n{_tail(log)}\n"
                "Is the profile's setup right, and can nodes reach this machine (its interface)?"
            )


def _environment() -> dict[str, str]:
    """Ours, less what SLURM told the job that this process may be in: a new job is another."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in kept
    }


async def _queued() -> set[str] | None:
    """The ids of this user's jobs that wait, run or are ending; None where squeue does not say."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("squeue", "--me", "--noheader", "--format=%A"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
    except OSError:
        return None
    return set(out.decode().split()) if process.returncode == 0 else None


def _said_by_sbatch(error: str) -> str:
    """sbatch's own words out of dask-jobqueue's report."""
    words = error.partition("stderr:\n")[2].strip() or error
    return " ".join(line.removeprefix("sbatch: ").strip() for line in words.splitlines())


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "  (there is no such file)"
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
