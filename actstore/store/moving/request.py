"""What of a store is copied, and as what."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.refs import look_up, parse_layers
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.records.journal import Json
from actstore.store.records.plan import CheckpointSpec
from actstore.store.shards import ENCODINGS
from actstore.store.store import Store

_LOSSES = ("exact", "compact", "small")
"""Precisions, each of which loses more than the one before."""
_DTYPES = ("float16", "float32")


@dataclass(frozen=True, kw_only=True)
class CopyRequest:
    """What of a store is copied, and as what. By default everything, as it is."""

    model: str | None = None
    """None: all."""
    checkpoints: tuple[str, ...] = ()
    """Names, globs, ranges, `last:50`, presets; empty: all."""
    layers: str | None = None
    """As `--layers` takes them, of those that are stored; None: all."""
    poolings: tuple[str, ...] = ()
    """Empty: all."""
    texts: str | None = None
    """A collected suite, or comma-separated tasks; None: all texts."""
    precision: str | None = None
    """None: as it is stored."""
    dtype: str | None = None
    """None: as it is stored."""
    states: bool = True
    """Whether states, token samples, heads and lenses are copied."""
    results: bool = True
    """Whether scores and metrics are copied."""

    @property
    def all_checkpoints(self) -> bool:
        return self.model is None and not self.checkpoints


@dataclass(frozen=True)
class ChosenCheckpoint:
    """One checkpoint of the source, and what it becomes."""

    source: CheckpointGroup
    spec: CheckpointSpec
    """In the target."""
    poolings: tuple[str, ...]
    """As they are stored."""

    @property
    def same_plan(self) -> bool:
        return self.spec.digest() == self.source.spec.digest()


def choose(source: Store, request: CopyRequest) -> list[ChosenCheckpoint]:
    """The checkpoints that a request means.

    Raises UnknownNameError and InvalidInputError for what the source does not have, or what cannot
    be made of it.
    """
    _check(request)
    models = source.models() if request.model is None else [request.model]
    return [
        _chosen(source.checkpoint(model, name), request)
        for model in models
        for name in source.select_checkpoints(model, request.checkpoints)
    ]


def wanted_rows(source: Store, request: CopyRequest) -> NDArray[np.int64]:
    """The rows of the source whose states are copied, ascending."""
    return source.text_rows() if request.texts is None else source.rows_of_suite(request.texts)


def wanted_tasks(source: Store, request: CopyRequest) -> tuple[str, ...]:
    """The tasks that are copied."""
    if request.texts is None:
        return tuple(source.tasks())
    if request.texts in source.suites():
        return tuple(task["name"] for task in source.suite(request.texts)["tasks"])
    return tuple(name.strip() for name in request.texts.split(","))


def _check(request: CopyRequest) -> None:
    if request.precision is not None:
        look_up("precision", request.precision, [*ENCODINGS], "See: actstore copy --help")
    if request.dtype is not None:
        look_up("dtype of stored states", request.dtype, _DTYPES, "See: actstore copy --help")


def _chosen(group: CheckpointGroup, request: CopyRequest) -> ChosenCheckpoint:
    stored = group.poolings()
    poolings = {group.stored_pooling(name) for name in request.poolings} or set(stored)
    for name in sorted(poolings):
        look_up("stored pooling", name, stored, f"List: actstore info {group.storage.url}")
    return ChosenCheckpoint(group, _spec(group, request), tuple(sorted(poolings)))


def _spec(group: CheckpointGroup, request: CopyRequest) -> CheckpointSpec:
    spec = group.spec
    precision, dtype = request.precision or spec.precision, request.dtype or spec.dtype
    if _loss(precision) < _loss(spec.precision):
        raise InvalidInputError(
            f"{spec.model} at {spec.checkpoint} is stored as {spec.precision}: what that lost does "
            f"not come back by copying it as {precision}. Leave out --precision, or extract again."
        )
    made = replace(spec, precision=precision, dtype=dtype, layers=_layers(group, request.layers))
    if made.digest() == spec.digest():
        return spec
    origin: dict[str, Json] = {
        "store": group.storage.url,
        "plan": spec.digest(),
        "precision": spec.precision,
        "dtype": spec.dtype,
    }
    return replace(made, provenance={**spec.provenance, "copied_from": origin})


def _layers(group: CheckpointGroup, selection: str | None) -> tuple[int, ...]:
    """Names each that is asked for and not stored; `all` means those that are stored."""
    if selection is None or selection.strip() == "all":
        return group.layers
    asked = parse_layers(selection, group.spec.n_blocks)
    known = [str(layer) for layer in group.layers]
    for layer in asked:
        look_up("stored layer", str(layer), known, f"List: actstore info {group.storage.url}")
    return asked


def _loss(precision: str) -> int:
    return _LOSSES.index(precision) if precision in _LOSSES else len(_LOSSES)
