"""What one worker does: read a piece of the store itself, and reduce it to statistics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from actstore.metrics.blocks import PairBlock, PooledBlock, ViewsBlock
from actstore.metrics.pooled.moments import MeanSums, mean_sums, merge_mean_sums
from actstore.metrics.registry import Metric, Statistics
from actstore.metrics.running import intervals
from actstore.metrics.running.chosen import row_hash
from actstore.metrics.running.plan import Job
from actstore.metrics.running.readers import Block, Piece
from actstore.store import MetricRecord

ByGroup: TypeAlias = dict[int, Statistics]
"""By group of texts, all of them in group 0 unless intervals are asked for; none where a piece has
no text that the metric is over."""
LayerStatistics: TypeAlias = dict[int, tuple[ByGroup, ...]]
"""By layer, one for each of `distinct(metrics)`."""
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Measured:
    """The finished values of a job."""

    records: tuple[MetricRecord, ...]
    n_layers: int
    values_key: str
    rows: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    """The numbers of single texts, (text,) by `{layer}/{metric}`."""


def one_thread(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function with one BLAS thread, wherever it runs: workers are what runs side by side."""

    @functools.wraps(function)
    def limited(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*arguments, **named)

    return limited


@functools.cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; finding them takes as long as a small task."""
    return ThreadpoolController()


def distinct(metrics: Sequence[Metric[Any, Any]]) -> tuple[Metric[Any, Any], ...]:
    """One metric for every different chunk: metrics with the same one share its statistic."""
    return tuple({metric.chunk: metric for metric in metrics}.values())


@one_thread
def mean_of_piece(job: Job, piece: Piece) -> MeanSums:
    """The first pass over some rows of a pooled array."""
    return mean_sums(_pooled(job, piece))


def merge_means(*parts: MeanSums) -> MeanSums:
    """The first pass over all of their rows."""
    return functools.reduce(merge_mean_sums, parts)


@one_thread
def statistics_of_piece(job: Job, piece: Piece, means: MeanSums | None = None) -> LayerStatistics:
    """Statistics of a piece, at all of the job's layers."""
    blocks = job.reader.blocks(job.layers, piece, job.metrics)
    mean = None if means is None else means.mean
    return {layer: _gather(job, _centred(block, mean)) for layer, block in blocks.items()}


@one_thread
def measure_whole(job: Job, pieces: Sequence[Piece]) -> Measured:
    """All of a job that fits one worker's memory, read once."""
    if any(metric.needs_mean for metric in job.metrics):
        blocks = [_pooled(job, piece) for piece in pieces]
        mean = merge_means(*map(mean_sums, blocks)).mean
        [layer] = job.layers
        parts = [{layer: _gather(job, replace(block, mean=mean))} for block in blocks]
    else:
        parts = [statistics_of_piece(job, piece) for piece in pieces]
    return finish(job, merge(job, *parts))


def merge(job: Job, *parts: LayerStatistics) -> LayerStatistics:
    """The statistics of all parts."""
    metrics = distinct(job.metrics)
    return {
        layer: tuple(
            _merge_groups(metric, [part[layer][i] for part in parts])
            for i, metric in enumerate(metrics)
        )
        for layer in parts[0]
    }


@one_thread
def finish(job: Job, statistics: LayerStatistics) -> Measured:
    """Values, their intervals, and the numbers of single texts that they are means of."""
    place = {metric.chunk: i for i, metric in enumerate(distinct(job.metrics))}
    definitions = (f"{metric.name}: {metric.reference}" for metric in job.metrics)
    key = "|".join([job.model, job.checkpoint, job.source, job.inputs, *definitions])
    records, values, rows = [], {}, np.empty(0, np.int64)
    for layer in job.layers:
        for metric in job.metrics:
            groups = statistics[layer][place[metric.chunk]]
            stats = functools.reduce(metric.combine, (groups[i] for i in sorted(groups)))
            texts = metric.per_text(stats) if metric.per_text else None
            if texts is not None:
                rows = texts.rows
                values[f"{layer}/{metric.name}"] = texts.values()
                interval = intervals.jackknife_over_texts(texts)
            else:
                interval = intervals.delete_a_group(metric, groups)
            kept = "" if texts is None else f"{key}|{job.layers}"
            records.append(_record(job, layer, metric, stats, interval, kept))
    return Measured(tuple(records), len(job.layers), f"{key}|{job.layers}", rows, values)


def _record(
    job: Job,
    layer: int,
    metric: Metric[Any, Any],
    stats: Statistics,
    interval: intervals.Interval,
    values: str,
) -> MetricRecord:
    value = metric.finalize(stats)
    undefined = "it is not defined for these data" if np.isnan(value) else ""
    return MetricRecord(
        model=job.model,
        checkpoint=job.checkpoint,
        layer=layer,
        metric=metric.name,
        source=job.source,
        value=value,
        n=stats.n,
        n_undefined=stats.n_undefined,
        reason=stats.degenerate or undefined,
        low=interval.low,
        high=interval.high,
        interval=interval.how,
        unit=metric.unit,
        definition=metric.reference,
        inputs=job.inputs_of(metric),
        values=values,
    )


def _pooled(job: Job, piece: Piece) -> PooledBlock:
    """A piece of a job over one layer of a pooled array."""
    [block] = job.reader.blocks(job.layers, piece, job.metrics).values()
    assert isinstance(block, PooledBlock), "only metrics of pooled rows need their mean"
    return block


def _centred(block: Block, mean: NDArray[np.float64] | None) -> Block:
    return replace(block, mean=mean) if isinstance(block, PooledBlock) else block


def _gather(job: Job, block: Block) -> tuple[ByGroup, ...]:
    """Each distinct metric's statistics of a block."""
    return tuple(_by_group(job, metric, block) for metric in distinct(job.metrics))


def _by_group(job: Job, metric: Metric[Any, Any], block: Block) -> ByGroup:
    """Of the texts that the metric is over, by group if an interval needs groups."""
    if not isinstance(block, PooledBlock | PairBlock | ViewsBlock):
        return {0: metric.chunk(block)}
    if metric.all_pairs:
        block = block.take(row_hash(block.rows, job.seed) <= np.uint64(job.pairs_limit))
    if not len(block.rows):
        return {}
    if metric.per_text or not job.interval_groups:
        return {0: metric.chunk(block)}
    group = (row_hash(block.rows, job.seed + 1) % np.uint64(job.interval_groups)).astype(np.int64)
    return {int(one): metric.chunk(block.take(group == one)) for one in np.unique(group)}


def _merge_groups(metric: Metric[Any, Any], parts: Sequence[ByGroup]) -> ByGroup:
    numbers = sorted({number for part in parts for number in part})
    return {
        number: functools.reduce(metric.combine, [p[number] for p in parts if number in p])
        for number in numbers
    }
