"""What was submitted, kept as `manifest.json` in the run folder: enough to ask SLURM about it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from actstore.addresses import beside
from actstore.errors import InvalidInputError

FILE_NAME = "manifest.json"
RUNS = ".runs"
"""Behind the name of a store: the folder of its run folders."""
_VERSION = 1


@dataclass(frozen=True)
class SubmittedJob:
    """A job that SLURM took."""

    stage: str
    name: str
    """What queues show."""
    job_id: int
    """SLURM's; of an array, the number all its tasks share."""
    script: str
    """File name in the run folder."""
    tasks: int | None
    """How many tasks the array has, counted from 0; None for a job that is no array."""
    after: tuple[int, ...]
    """Ids of the jobs it waits for, all of whose tasks must end with 0."""
    submitted: float
    """Seconds since 1970."""

    def parts(self) -> list[tuple[int, int | None]]:
        """What there is to ask about: its id, with each task of an array, counted from 0."""
        tasks: Iterable[int | None] = [None] if self.tasks is None else range(self.tasks)
        return [(self.job_id, task) for task in tasks]


@dataclass(frozen=True)
class Manifest:
    """One submission of a chain of jobs."""

    folder: Path
    """The run folder: scripts, logs and this manifest."""
    experiment: str
    """Name of the experiment."""
    digest: str
    """Of the resolved experiment; empty for a chain that no experiment file made."""
    cluster: str
    """Name of the profile."""
    started: float
    """When submitting began, in seconds since 1970."""
    jobs: tuple[SubmittedJob, ...]
    """In the order of submission. A stage's job is missing where submitting was cut short."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that were submitted, in order and without repeats."""
        return tuple(dict.fromkeys(job.stage for job in self.jobs))

    def with_job(self, job: SubmittedJob) -> Manifest:
        """The same and one job more."""
        return replace(self, jobs=(*self.jobs, job))


def write_manifest(manifest: Manifest) -> None:
    """Write it to its folder, whole or not at all, in place of the one there is."""
    path = manifest.folder / FILE_NAME
    document = {"version": _VERSION, **asdict(manifest), "folder": str(manifest.folder)}
    partial = path.with_name(f".{FILE_NAME}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a run folder, which may have been moved since.

    Raises InvalidInputError if there is none, or none that this actstore reads.
    """
    path = Path(folder).expanduser().absolute() / FILE_NAME
    try:
        return _manifest(path.parent, json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"Nothing was submitted from {path.parent}: it has no {FILE_NAME}. "
            "Run: actstore slurm submit EXPERIMENT.yaml"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{path} is no manifest of version {_VERSION}, which this actstore reads: {error!r}. "
            "Submit again (actstore slurm submit), or use the version that wrote it."
        ) from error


def manifests_of(store: Path | str) -> list[Manifest]:
    """What was submitted for a store, the latest first; unreadable manifests are left out."""
    return manifests_in(beside(store, RUNS))


def manifests_in(folder: Path) -> list[Manifest]:
    """The manifests of the run folders below a folder, the latest first, as manifests_of."""
    found = _readable(sorted(folder.glob(f"*/{FILE_NAME}")))
    return sorted(found, key=lambda manifest: manifest.started, reverse=True)


def begin_manifest(folder: Path, experiment: str, digest: str, cluster: str) -> Manifest:
    """A manifest of a submission that begins now: no job yet, not written yet."""
    return Manifest(folder, experiment, digest, cluster, time.time(), ())


def _readable(paths: Iterable[Path]) -> Iterator[Manifest]:
    for path in paths:
        try:
            yield read_manifest(path.parent)
        except InvalidInputError:
            continue


def _manifest(folder: Path, document: dict[str, Any]) -> Manifest:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']}")
    jobs = tuple(
        SubmittedJob(**{**job, "after": tuple(job["after"])})  # JSON knows no tuples
        for job in document["jobs"]
    )
    names = ("experiment", "digest", "cluster", "started")
    return Manifest(folder=folder, jobs=jobs, **{name: document[name] for name in names})
