"""The logs that submitted jobs write: which files they are, their last lines, and new ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actstore.refs import look_up
from actstore.slurm.manifest import Manifest

FOLDER = "logs"
"""In the run folder."""
_TAIL = 64 << 10
"""Bytes that are read of the end of a log, however long it is."""


def log_file(manifest: Manifest, stage: str, job_id: int, task: int | None) -> Path:
    """Where a job, or one task of an array, writes; it is there once the job was first started."""
    number = str(job_id) if task is None else f"{job_id}_{task}"
    return manifest.folder / FOLDER / f"{stage}-{number}.out"


def log_files(manifest: Manifest, stage: str) -> list[Path]:
    """The logs of a stage that there are, by task; none of an earlier submission.

    Raises UnknownNameError for a stage that was not submitted.
    """
    stages_of(manifest, [stage])
    asked = (
        log_file(manifest, stage, job_id, task)
        for job in manifest.jobs
        if job.stage == stage
        for job_id, task in job.parts()
    )
    return [path for path in asked if path.exists()]


def stages_of(manifest: Manifest, asked: Sequence[str]) -> tuple[str, ...]:
    """The stages that are asked for, all of the submission if none is.

    Raises UnknownNameError for one that was not submitted.
    """
    how = "To see them all, run: actstore slurm status"
    return tuple(look_up("stage", one, manifest.stages, how) for one in asked) or manifest.stages


def last_lines(path: Path, n: int) -> list[str]:
    """The last n lines of a log, without empty ones at its end; none of one that is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return _lines(text.rstrip())[-n:] if n else []


class NewLines:
    """Reads what was added to logs since it last looked."""

    def __init__(self, skip: Sequence[Path] = ()) -> None:
        """skip: logs of which only what comes from now on is new."""
        self._read_to = {path: path.stat().st_size for path in skip if path.exists()}

    def of(self, path: Path) -> list[str]:
        """Whole lines that are new in a log; the last one waits until it is ended."""
        try:
            with path.open("rb") as file:
                file.seek(self._read_to.get(path, 0))
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to[path] = self._read_to.get(path, 0) + len(whole)
        return _lines(whole.decode("utf-8", "replace"))


def _lines(text: str) -> list[str]:
    """Its lines; of one that was drawn over and over, as bars are, what it ended as."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n") if text]
