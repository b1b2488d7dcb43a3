"""Where a store or an experiment stands: its stages, its jobs, who is at work, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actstore.errors import ActstoreError, NotAStoreError
from actstore.store import open_store
from actstore.store.status.stage_status import Overview, StageStatus, overview, waiting_stages
from actstore.store.storage import open_storage

if TYPE_CHECKING:
    from actstore.experiment.schema import Experiment
    from actstore.slurm.manifest import Manifest
    from actstore.slurm.queue import JobState

_MOST_LOGS = 3
_LAST_LINES = 5


@dataclass(frozen=True)
class FailedJob:
    """What a job that failed wrote last."""

    job: str
    """`extract[3]`: the stage, and which task of its array."""
    log: str
    """Path of its log."""
    last_lines: tuple[str, ...]


@dataclass(frozen=True)
class Submission:
    """The jobs that were submitted last."""

    manifest: Manifest
    jobs: tuple[JobState, ...]
    """Empty where SLURM cannot be asked."""
    failed: tuple[FailedJob, ...]
    """The first few that failed by themselves."""
    problem: str | None
    """Why SLURM could not be asked."""

    @property
    def under_way(self) -> bool:
        """Whether any job waits or runs."""
        return any(not job.ended for job in self.jobs)


@dataclass(frozen=True)
class Standing:
    """Where a store or an experiment stands, at one moment."""

    url: str
    """The store's path."""
    experiment: str | None
    """Its name; None where a store was asked for."""
    stages: tuple[StageStatus, ...]
    overview: Overview | None
    """None where the store was not made yet."""
    submission: Submission | None
    """None where nothing was submitted to SLURM."""

    @property
    def done(self) -> bool:
        """Whether all that an experiment asks for is done; of a store alone, nobody is at work."""
        if self.experiment is None:
            return not self._at_work
        return all(stage.state == "done" for stage in self.stages)

    @property
    def failed(self) -> bool:
        """Whether something failed and nobody is at work who could mend it."""
        stages = any(stage.state == "failed" for stage in self.stages)
        jobs = self.submission is not None and bool(self.submission.failed)
        return (stages or jobs) and not self.done and not self._at_work

    @property
    def _at_work(self) -> bool:
        leases = self.overview is not None and bool(self.overview.extraction.leases)
        jobs = self.submission is not None and self.submission.under_way
        return leases or jobs or any(stage.state == "running" for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """What `actstore status --json` prints; docs/cluster.md says what is in it."""
        document: dict[str, Any] = {
            "url": self.url,
            "experiment": self.experiment,
            "done": self.done,
            "failed": self.failed,
            "stages": [asdict(stage) for stage in self.stages],
            "submission": None if self.submission is None else _submission_json(self.submission),
            "models": [],
            "leases": [],
            "last_error": None,
            "evaluation": {"scored": [], "failures": []},
        }
        if self.overview is not None:
            document |= asdict(self.overview.extraction)
            document["evaluation"] = asdict(self.overview.evaluation)
        return document


def standing_of(where: str | Path) -> Standing:
    """Where a store stands, or the experiment of a file (`.yaml`) with what it asks for.

    Reads metadata and journals, and asks SLURM where jobs were submitted for the store. Raises
    NotAStoreError for a path without a store, InvalidInputError for a file that is no experiment.
    """
    if Path(where).suffix.lower() not in (".yaml", ".yml"):
        store = open_store(where)
        seen = overview(store)
        return Standing(store.url, None, seen.stages, seen, _submission(store.url, None))
    from actstore.experiment.load import load_experiment

    experiment = load_experiment(where)
    return _of_experiment(experiment)


def _of_experiment(experiment: Experiment) -> Standing:
    from actstore.experiment.asked import asked_of

    name, url = experiment.name, experiment.store
    submission = _submission(url, name)
    try:
        store = open_store(url)
    except NotAStoreError:
        if open_storage(url).names(""):
            raise
        return Standing(url, name, waiting_stages(asked_of(experiment, None)), None, submission)
    seen = overview(store, asked_of(experiment, store))
    return Standing(store.url, name, seen.stages, seen, submission)


def _submission(url: str, experiment: str | None) -> Submission | None:
    """The latest submission for a store, of an experiment if one is named."""
    from actstore.slurm.manifest import manifests_of

    found = [m for m in manifests_of(url) if m.jobs and experiment in (None, m.experiment)]
    if not found:
        return None
    from actstore.slurm.queue import failures_first, job_states

    manifest = found[0]
    try:
        jobs = job_states(manifest)
    except ActstoreError as error:
        return Submission(manifest, (), (), str(error))
    first = [job for job in failures_first(jobs) if job.failed and job.node]
    failed = tuple(_failed(manifest, job) for job in first[:_MOST_LOGS])
    return Submission(manifest, tuple(jobs), failed, None)


def _failed(manifest: Manifest, job: JobState) -> FailedJob:
    from actstore.slurm.logs import last_lines, log_file

    path = log_file(manifest, job.stage, job.job_id, job.task)
    return FailedJob(job.label, str(path), tuple(last_lines(path, _LAST_LINES)))


def _submission_json(one: Submission) -> Mapping[str, Any]:
    manifest = one.manifest
    return {
        "folder": str(manifest.folder),
        "cluster": manifest.cluster,
        "submitted": manifest.started,
        "jobs": [asdict(job) for job in one.jobs],
        "failed": [asdict(job) for job in one.failed],
        "problem": one.problem,
    }
