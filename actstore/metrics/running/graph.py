"""A job as a Dask graph: pieces of the store -> statistics -> a tree of merges -> values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dask.delayed import Delayed, delayed

from actstore.metrics.running import work
from actstore.metrics.running.plan import Job, Work
from actstore.metrics.running.readers import Piece

_WHOLE_BYTES = 256 * 2**20
"""A job whose states take no more is one task: they are read once, whatever is computed."""
_FAN_IN = 8


def job_graph(todo: Work) -> Delayed:
    """The job as one lazy `work.Measured`."""
    job = todo.job
    if job.metrics[0].over != "lens" and todo.n_bytes <= _WHOLE_BYTES:
        whole: Delayed = _task(work.measure_whole, job)(list(todo.pieces))
        return whole
    parts = _tree(partial(work.merge, job), _parts(job, todo.pieces))
    measured: Delayed = _task(work.finish, job)(parts)
    return measured


def _parts(job: Job, pieces: Sequence[Piece]) -> list[Delayed]:
    means = None
    if any(metric.needs_mean for metric in job.metrics):
        means = _tree(work.merge_means, [_task(work.mean_of_piece, job)(piece) for piece in pieces])
    return [_task(work.statistics_of_piece, job)(piece, means) for piece in pieces]


def _task(function: Callable[..., Any], job: Job) -> Callable[..., Delayed]:
    """A lazy call; bound beforehand, so that Dask does not search the job for graphs."""
    task: Callable[..., Delayed] = delayed(partial(function, job))
    return task


def _tree(merge: Callable[..., Any], parts: Sequence[Delayed]) -> Delayed:
    """Merge a few at a time, so that no task holds all statistics."""
    while len(parts) > 1:
        groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
        parts = [delayed(merge)(*group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
