"""Which values there are to compute: asked for, possible, and not in the store yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from actstore.errors import UnknownNameError
from actstore.metrics.registry import Metric, default_metrics, resolve_metrics
from actstore.metrics.running.chosen import chosen_texts, row_hash
from actstore.metrics.running.readers import Piece, Reader
from actstore.metrics.running.request import MetricsRequest
from actstore.metrics.running.sources import Finder, Source
from actstore.refs import parse_layers
from actstore.store import CheckpointGroup, Store


@dataclass(frozen=True)
class Job:
    """Metrics of some layers of one checkpoint that share one reading of one source."""

    model: str
    checkpoint: str
    layers: tuple[int, ...]
    """One, or for lens metrics all that are asked for: they share the final layer's prediction."""
    metrics: tuple[Metric[Any, Any], ...]
    reader: Reader
    source: str
    inputs: str
    pairs_limit: int
    seed: int
    interval_groups: int

    def inputs_of(self, metric: Metric[Any, Any]) -> str:
        """Digest of everything that a value depends on, apart from the metric's definition."""
        return f"{self.inputs}-{self.pairs_limit:x}" if metric.all_pairs else self.inputs


@dataclass(frozen=True)
class Work:
    """A job and the pieces that it is over."""

    job: Job
    pieces: tuple[Piece, ...]
    n_bytes: int
    """Of all pieces, about."""


@dataclass(frozen=True)
class Plan:
    """The work of one request."""

    works: tuple[Work, ...]
    reused: int
    not_possible: tuple[str, ...]


def make_plan(store: Store, request: MetricsRequest) -> Plan:
    """What has to be computed. Reads no states.

    Raises UnknownNameError for a name that does not exist, and MissingShardsError, with the
    command that mends it, where states or a lens head that were asked for by name are missing.
    """
    metrics = resolve_metrics(request.metrics) or default_metrics()
    works: list[Work] = []
    reused = 0
    notes: dict[str, None] = {}
    stored = _stored(store.metric_table())
    groups = store.checkpoint_groups(request.model, _checkpoints(store, request))
    for chosen in chosen_texts(store, request):
        for group in groups:
            finder = Finder(store, request, group, _layers(group, request.layers), chosen)
            for source in finder.sources(metrics, notes):
                jobs = list(_jobs(group, source, request, stored))
                reused += len(source.layers) * len(source.metrics)
                reused -= sum(len(job.layers) * len(job.metrics) for job in jobs)
                works += [Work(job, *_cut(source, job)) for job in jobs]
    return Plan(tuple(works), reused, tuple(notes))


def _checkpoints(store: Store, request: MetricsRequest) -> Sequence[str]:
    """Those of the request's share."""
    found = store.select_checkpoints(request.model, request.checkpoints)
    return found if request.share is None else request.share.part(found)


def _stored(table: pd.DataFrame) -> dict[tuple[Any, ...], tuple[str, str, bool]]:
    """By what a value is of: inputs, definition, and whether an interval was tried."""
    key = ["model", "checkpoint", "layer", "metric", "source"]
    tried = (table["interval"] != "") | table["value"].isna()
    found = table[[*key, "inputs", "definition"]].assign(tried=tried)
    return {tuple(row[:5]): row[5:] for row in found.itertuples(index=False, name=None)}


def _layers(group: CheckpointGroup, selection: str) -> tuple[int, ...]:
    if selection == "all":
        return group.layers
    asked = parse_layers(selection, group.spec.n_blocks)
    if absent := sorted(set(asked) - set(group.layers)):
        raise UnknownNameError(
            f"{group.model} at {group.checkpoint} is stored without the layers "
            f"{', '.join(map(str, absent))}; it has {', '.join(map(str, group.layers))}."
        )
    return asked


def _jobs(
    group: CheckpointGroup,
    source: Source,
    request: MetricsRequest,
    stored: dict[tuple[Any, ...], tuple[str, str, bool]],
) -> Iterator[Job]:
    """What is not stored: a job a layer, or one for all layers where they are read together."""

    def job(layers: tuple[int, ...], metrics: tuple[Metric[Any, Any], ...]) -> Job:
        return Job(
            model=group.model,
            checkpoint=group.checkpoint,
            layers=layers,
            metrics=metrics,
            reader=source.reader,
            source=source.label,
            inputs=source.inputs,
            pairs_limit=source.pairs_limit,
            seed=request.seed,
            interval_groups=request.interval_groups,
        )

    def is_stored(layer: int, metric: Metric[Any, Any]) -> bool:
        key = (group.model, group.checkpoint, layer, metric.name, source.label)
        inputs, definition, tried = stored.get(key, ("", "", False))
        same = (inputs, definition) == (whole.inputs_of(metric), metric.reference)
        return same and (tried or not request.interval_groups) and not request.overwrite

    whole = job(source.layers, source.metrics)
    todo = {
        layer: tuple(metric for metric in source.metrics if not is_stored(layer, metric))
        for layer in source.layers
    }
    todo = {layer: metrics for layer, metrics in todo.items() if metrics}
    if todo and source.metrics[0].over == "lens":
        needed = {metric.name for metrics in todo.values() for metric in metrics}
        yield job(tuple(todo), tuple(one for one in source.metrics if one.name in needed))
    else:
        for layer, metrics in todo.items():
            yield job((layer,), metrics)


def _cut(source: Source, job: Job) -> tuple[tuple[Piece, ...], int]:
    """The pieces of a job, along shards where data are read so, and their bytes."""
    data, cut_by = source.data, source.cut_by
    if all(metric.all_pairs for metric in job.metrics):
        chosen = row_hash(source.rows, job.seed) <= np.uint64(job.pairs_limit)
        data, cut_by = data[chosen], cut_by[chosen]
    edges = np.flatnonzero(np.diff(cut_by // source.piece_length)) + 1
    return tuple(np.split(data, edges)), len(data) * source.bytes_per_row
