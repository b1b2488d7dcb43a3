"""A job as a Dask graph: pieces of the store -> statistics -> a tree of merges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from actstore.metrics.running import work
from actstore.metrics.running.plan import Job
from actstore.store import CheckpointGroup

_CHUNK_BYTES = 32 * 2**20
"""Bound on the rows of one pooled chunk, in float64; a worker holds a few copies."""
_TOKENS = 4096
"""Tokens of one token chunk or lens chunk, about."""
_FAN_IN = 8


def job_graph(group: CheckpointGroup, job: Job, rows: NDArray[np.int64]) -> Delayed:
    """The job as one lazy `work.Measured`. rows: the text rows that pooled metrics are over."""
    over = job.metrics[0].over
    parts = _pooled_parts(group, job, rows) if over == "pooled" else _token_parts(group, job)
    measured: Delayed = delayed(partial(work.Measured, job))(_tree(work.merger(job.metrics), parts))
    return measured


def _pooled_parts(group: CheckpointGroup, job: Job, rows: NDArray[np.int64]) -> list[Delayed]:
    pieces = row_pieces(rows, _rows_per_piece(group))
    means = None
    if any(metric.needs_mean for metric in job.metrics):
        first_pass = [_task(work.mean_of_rows, group, job)(piece) for piece in pieces]
        means = _tree(work.merge_means, first_pass)
    return [_task(work.pooled_statistics, group, job)(piece, means) for piece in pieces]


def _token_parts(group: CheckpointGroup, job: Job) -> list[Delayed]:
    """Over "tokens" or "lens": whole texts, neighbours on the token axis."""
    assert job.sample is not None
    texts = group.token_sample(job.sample).spans[["row", "start", "stop"]].to_numpy(np.int64)
    pieces = _split_at(texts, texts[:, 1] // _TOKENS)
    function = work.token_statistics if job.metrics[0].over == "tokens" else work.lens_statistics
    return [_task(function, group, job)(piece) for piece in pieces]


def _task(function: Callable[..., Any], group: CheckpointGroup, job: Job) -> Callable[..., Delayed]:
    """A lazy call; bound beforehand, so that Dask does not search the job for graphs."""
    task: Callable[..., Delayed] = delayed(partial(function, group.storage.url, job))
    return task


def _rows_per_piece(group: CheckpointGroup) -> int:
    """Whole shards if they fit the bound, else whole inner chunks."""
    layout = group.layout
    fit = _CHUNK_BYTES // (8 * layout.hidden_size)
    whole = layout.rows_per_shard if fit >= layout.rows_per_shard else layout.rows_per_chunk
    return max(whole, fit // whole * whole)


def row_pieces(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Rows, ascending, cut at multiples of `size`: pieces share no shard."""
    return _split_at(rows, rows // size)


def _split_at(values: NDArray[np.int64], piece: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut where the piece's number changes."""
    return np.split(values, np.flatnonzero(np.diff(piece)) + 1)


def _tree(merge: Callable[..., Any], parts: Sequence[Delayed]) -> Delayed:
    """Merge a few at a time, so that no task holds all statistics."""
    while len(parts) > 1:
        groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
        parts = [delayed(merge)(*group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
