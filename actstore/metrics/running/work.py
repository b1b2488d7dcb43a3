"""What one worker does: read a piece of the store itself, and reduce it to statistics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import LensBlock, PooledBlock, TokenBlock
from actstore.metrics.lens.kernel import lens_values
from actstore.metrics.pooled.moments import MeanSums, mean_sums, merge_mean_sums
from actstore.metrics.registry import Metric, Statistics
from actstore.metrics.running.plan import Job
from actstore.store import CheckpointGroup, MetricRecord, TokenSample, open_store

LayerStatistics: TypeAlias = dict[int, tuple[Statistics, ...]]
"""By layer, one statistic for each of `distinct(metrics)`."""
_READ_BYTES = 32 * 2**20
"""Bound on the token states (all layers, float32) that a lens task reads at once."""


def distinct(metrics: Sequence[Metric[Any, Any]]) -> tuple[Metric[Any, Any], ...]:
    """One metric for every different chunk: metrics with the same one share its statistic."""
    return tuple({metric.chunk: metric for metric in metrics}.values())


def mean_of_rows(url: str, job: Job, rows: NDArray[np.int64]) -> MeanSums:
    """The first pass over some rows of a pooled array."""
    return mean_sums(PooledBlock(_read_pooled(url, job, rows), rows))


def merge_means(*parts: MeanSums) -> MeanSums:
    """The first pass over all of their rows."""
    return functools.reduce(merge_mean_sums, parts)


def pooled_statistics(
    url: str, job: Job, rows: NDArray[np.int64], means: MeanSums | None
) -> LayerStatistics:
    """Statistics of some rows of a pooled array at the job's one layer."""
    states = _read_pooled(url, job, rows)
    block = PooledBlock(states, rows, None if means is None else means.mean)
    return {job.layers[0]: _chunks(job, block)}


def token_statistics(url: str, job: Job, texts: NDArray[np.int64]) -> LayerStatistics:
    """Statistics of some texts of a token sample, neighbours on its token axis, at one layer.

    texts: (text, 3), each text's row, and its range of tokens.
    """
    rows, spans = texts[:, 0], texts[:, 1:]
    first, last = int(spans[0, 0]), int(spans[-1, 1])
    states = _sample(url, job).states(job.layers[0], first, last)
    return {job.layers[0]: _chunks(job, TokenBlock(states, spans - first, rows))}


def lens_statistics(url: str, job: Job, texts: NDArray[np.int64]) -> LayerStatistics:
    """Statistics of some texts of a sample at all of the job's layers, from one lens pass.

    texts: (text, 3), each text's row, and its range of tokens; neighbours on the token axis.
    """
    group, sample = _group_of(url, job), _sample(url, job)
    head, last = group.head(), group.spec.n_blocks
    layers = sorted({*job.layers, last})
    rows, spans = texts[:, 0], texts[:, 1:]
    start, stop = int(spans[0, 0]), int(spans[-1, 1])
    at_once = max(1, _READ_BYTES // (4 * len(layers) * group.spec.hidden_size))
    parts = []
    for low in range(start, stop, at_once):
        high = min(low + at_once, stop)
        states = np.stack([sample.states(layer, low, high) for layer in layers])
        parts.append(lens_values(states, head))
    whole = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    return {
        layer: _chunks(
            job,
            LensBlock(
                {name: values[layers.index(layer)] for name, values in whole.items()},
                spans - start,
                rows,
            ),
        )
        for layer in job.layers
    }


def _chunks(job: Job, block: PooledBlock | TokenBlock | LensBlock) -> tuple[Statistics, ...]:
    return tuple(metric.chunk(block) for metric in distinct(job.metrics))


def merger(metrics: Sequence[Metric[Any, Any]]) -> Callable[..., LayerStatistics]:
    """A function that merges the statistics of any number of parts."""
    return functools.partial(_merge, distinct(metrics))


def _merge(metrics: Sequence[Metric[Any, Any]], *parts: LayerStatistics) -> LayerStatistics:
    return {
        layer: tuple(
            functools.reduce(metric.combine, (part[layer][i] for part in parts))
            for i, metric in enumerate(metrics)
        )
        for layer in parts[0]
    }


@dataclass(frozen=True)
class Measured:
    """A job and the statistics of all of its data."""

    job: Job
    statistics: LayerStatistics

    def records(self) -> list[MetricRecord]:
        """The finished values."""
        place = {metric.chunk: i for i, metric in enumerate(distinct(self.job.metrics))}
        return [
            self._record(layer, metric, statistics[place[metric.chunk]])
            for layer, statistics in self.statistics.items()
            for metric in self.job.metrics
        ]

    def _record(self, layer: int, metric: Metric[Any, Any], stats: Statistics) -> MetricRecord:
        return MetricRecord(
            model=self.job.model,
            checkpoint=self.job.checkpoint,
            layer=layer,
            metric=metric.name,
            source=self.job.source,
            value=metric.finalize(stats),
            n=stats.n,
            n_undefined=stats.n_undefined,
            reason=stats.degenerate,
            unit=metric.unit,
            definition=metric.reference,
            inputs=self.job.inputs,
        )


@functools.lru_cache(maxsize=4)
def _group(url: str, model: str, checkpoint: str, _inputs: str) -> CheckpointGroup:
    """A checkpoint, opened once for many tasks; other inputs mean another store or plan."""
    return open_store(url).checkpoint(model, checkpoint)


def _group_of(url: str, job: Job) -> CheckpointGroup:
    return _group(url, job.model, job.checkpoint, job.inputs)


def _sample(url: str, job: Job) -> TokenSample:
    assert job.sample is not None
    return _group_of(url, job).token_sample(job.sample)


def _read_pooled(url: str, job: Job, rows: NDArray[np.int64]) -> NDArray[Any]:
    assert job.pooling is not None
    return _group_of(url, job).read(job.pooling, job.layers[0], rows)
