"""Which values there are to compute: asked for, possible, and not in the store yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xxhash
from numpy.typing import NDArray

from actstore.errors import MissingShardsError, UnknownNameError
from actstore.metrics.registry import Metric, all_metrics, resolve_metrics
from actstore.metrics.running.request import MetricsRequest
from actstore.refs import parse_layers
from actstore.store import CheckpointGroup, Store, TokenSample


@dataclass(frozen=True)
class Job:
    """Metrics of some layers of one checkpoint that share one reading of one source."""

    model: str
    checkpoint: str
    layers: tuple[int, ...]
    """One, or for lens metrics all that are asked for: they share the final layer's prediction."""
    metrics: tuple[Metric[Any, Any], ...]
    pooling: str | None
    sample: str | None
    """A token sample; exactly one of `pooling` and `sample` is given."""
    source: str
    """As values are recorded: `mean_pool`, `mean_pool/STS12`, `tokens/sample`."""
    inputs: str
    """Digest of everything that the values depend on, apart from the metrics' definitions."""


@dataclass(frozen=True)
class Plan:
    """The work of one request."""

    jobs: tuple[Job, ...]
    rows: NDArray[np.int64]
    """The text rows that pooled metrics are over."""
    reused: int
    not_possible: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """One stored array of one checkpoint, and the metrics that can be computed from it."""

    metrics: tuple[Metric[Any, Any], ...]
    pooling: str | None
    sample: str | None
    source: str
    inputs: str


def make_plan(store: Store, request: MetricsRequest) -> Plan:
    """What has to be computed. Reads no states.

    Raises UnknownNameError for a name that does not exist, and MissingShardsError, with the
    command that mends it, where states or a lens head that were asked for by name are missing.
    """
    metrics = resolve_metrics(request.metrics) or all_metrics()
    rows = store.text_rows() if request.task is None else np.sort(store.task(request.task).rows())
    jobs: list[Job] = []
    reused = 0
    notes: dict[str, None] = {}
    stored = _stored_inputs(store.metric_table())
    for checkpoint in store.select_checkpoints(request.model, request.checkpoints):
        group = store.checkpoint(request.model, checkpoint)
        layers = _layers(group, request.layers)
        for source in _sources(group, request, metrics, rows, notes):
            wanted = [(layer, metric) for layer in layers for metric in source.metrics]
            todo = [
                (layer, metric)
                for layer, metric in wanted
                if request.overwrite
                or stored.get((group.model, checkpoint, layer, metric.name, source.source))
                != (source.inputs, metric.reference)
            ]
            reused += len(wanted) - len(todo)
            jobs += _jobs(group, source, todo)
    return Plan(tuple(jobs), rows, reused, tuple(notes))


def _stored_inputs(table: pd.DataFrame) -> dict[tuple[Any, ...], tuple[Any, str]]:
    """By (model, checkpoint, layer, metric, source): digest of the inputs, and definition."""
    key = ["model", "checkpoint", "layer", "metric", "source"]
    found = table[[*key, "inputs", "definition"]].itertuples(index=False, name=None)
    return {tuple(row[:5]): (row[5], row[6]) for row in found}


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


def _sources(
    group: CheckpointGroup,
    request: MetricsRequest,
    metrics: Sequence[Metric[Any, Any]],
    rows: NDArray[np.int64],
    notes: dict[str, None],
) -> Iterator[_Source]:
    if pooled := _over(metrics, "pooled"):
        yield from _pooled_sources(group, request, pooled, rows)
    for kind in ("tokens", "lens"):
        if not (chosen := _over(metrics, kind)):
            continue
        try:
            yield from list(_token_sources(group, request, chosen))
        except (UnknownNameError, MissingShardsError) as error:
            if request.metrics or request.token_samples:
                raise
            notes[f"{', '.join(metric.name for metric in chosen)}: {error}"] = None


def _over(metrics: Iterable[Metric[Any, Any]], kind: str) -> tuple[Metric[Any, Any], ...]:
    return tuple(metric for metric in metrics if metric.over == kind)


def _pooled_sources(
    group: CheckpointGroup,
    request: MetricsRequest,
    metrics: tuple[Metric[Any, Any], ...],
    rows: NDArray[np.int64],
) -> Iterator[_Source]:
    for pooling in dict.fromkeys(group.stored_pooling(name) for name in request.poolings):
        group.require(pooling, rows)
        source = f"{pooling}_pool" + (f"/{request.task}" if request.task else "")
        inputs = _digest(group.spec.digest(), pooling, rows)
        yield _Source(metrics, pooling, None, source, inputs)


def _token_sources(
    group: CheckpointGroup, request: MetricsRequest, metrics: tuple[Metric[Any, Any], ...]
) -> Iterator[_Source]:
    names = request.token_samples or group.token_samples()
    if not names:
        raise MissingShardsError(
            f"{group.storage.url} has no token states of {group.model} at {group.checkpoint}. Run: "
            f"actstore extract {group.storage.url} --model {group.model} "
            f"--checkpoints {group.checkpoint} --tokens 200"
        )
    for name in names:
        sample = group.token_sample(name)
        _require_whole(group, sample)
        if metrics[0].over == "lens":
            _require_lens(group)
        inputs = _digest(group.spec.digest(), name, sample.row, sample.token_id)
        yield _Source(metrics, None, name, f"tokens/{name}", inputs)


def _require_whole(group: CheckpointGroup, sample: TokenSample) -> None:
    if missing := sample.todo():
        raise MissingShardsError(
            f"The token sample {sample.name!r} of {group.model} at {group.checkpoint} lacks "
            f"{len(missing)} shards. Run the same actstore extract command again: it finishes it."
        )


def _require_lens(group: CheckpointGroup) -> None:
    if not group.has_head():
        group.head()  # says what to type
    last = group.spec.n_blocks
    if last not in group.layers:
        raise MissingShardsError(
            f"The lens needs the last layer, {last}, and {group.model} at {group.checkpoint} is "
            f"stored without it. Run, into another store: actstore extract … --layers all"
        )


def _digest(*parts: str | NDArray[Any]) -> str:
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part.encode() if isinstance(part, str) else part.tobytes())
        state.update(b"\0")
    return state.hexdigest()


def _jobs(
    group: CheckpointGroup, source: _Source, todo: Sequence[tuple[int, Metric[Any, Any]]]
) -> Iterator[Job]:
    by_layer: dict[int, list[Metric[Any, Any]]] = {}
    for layer, metric in todo:
        by_layer.setdefault(layer, []).append(metric)
    if by_layer and source.metrics[0].over == "lens":
        needed = tuple(dict.fromkeys(metric for _, metric in todo))
        yield _job(group, source, tuple(by_layer), needed)
    else:
        for layer, metrics in by_layer.items():
            yield _job(group, source, (layer,), tuple(metrics))


def _job(
    group: CheckpointGroup,
    source: _Source,
    layers: tuple[int, ...],
    metrics: tuple[Metric[Any, Any], ...],
) -> Job:
    return Job(
        model=group.model,
        checkpoint=group.checkpoint,
        layers=layers,
        metrics=metrics,
        pooling=source.pooling,
        sample=source.sample,
        source=source.source,
        inputs=source.inputs,
    )
