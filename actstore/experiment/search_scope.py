"""What a search chooses from: checkpoints, layers and tasks, and which are extracted already."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actstore.errors import MissingShardsError, UnknownNameError
from actstore.refs import model_name, parse_layers
from actstore.selection import select_checkpoints

if TYPE_CHECKING:
    from actstore.evaluate import Suite
    from actstore.experiment.searching import SearchRequest
    from actstore.extract import ExtractionRequest
    from actstore.store import CheckpointGroup, Store


@dataclass(frozen=True)
class Scope:
    """All (checkpoint, layer, task) of a search."""

    store: Store
    source: str
    """The model as asked for: a hub name or a folder."""
    suite: Suite
    checkpoints: tuple[str, ...]
    layers: tuple[int, ...]

    @property
    def model(self) -> str:
        return model_name(self.source)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.suite.tasks)

    @property
    def part_of(self) -> tuple[str, ...]:
        return tuple(task.part_of for task in self.suite.tasks)

    def extracted(self, pooling: str) -> list[str]:
        """The checkpoints of which every text of the suite is stored."""
        stored, rows = _stored(self.store, self.model), self._rows()
        return [
            name
            for name in self.checkpoints
            if name in stored and _has(self.store.checkpoint(self.model, name), pooling, rows)
        ]

    def extract(self, checkpoints: Collection[str], request: SearchRequest) -> None:
        """Extract those that are not yet, all layers at once, as those that are."""
        there = self.extracted(request.pooling)
        missing = tuple(name for name in self.checkpoints if name in {*checkpoints} - {*there})
        if missing:
            from actstore.extract import extract

            extract(self.store, self._extraction(missing, request))

    def _extraction(self, missing: tuple[str, ...], request: SearchRequest) -> ExtractionRequest:
        from actstore.extract import ExtractionRequest

        rows = self._rows()
        stored = _stored(self.store, self.model)
        if not stored:
            return ExtractionRequest(
                self.source,
                missing,
                poolings=(request.pooling,),
                rows=rows,
                devices=request.devices,
            )
        group = self.store.checkpoint(self.model, stored[-1])
        return ExtractionRequest(
            model=self.source,
            checkpoints=missing,
            layers=",".join(map(str, group.layers)),
            poolings=tuple(dict.fromkeys([*group.poolings(), request.pooling])),
            rows=rows,
            max_tokens=group.spec.max_tokens,
            dtype=group.spec.dtype,
            precision=group.spec.precision,
            devices=request.devices,
        )

    def _rows(self) -> NDArray[np.int64]:
        bundles = [self.store.task(task).rows() for task in self.tasks]
        return np.unique(np.concatenate(bundles))


def scope_of(
    store: Store, model: str, suite: str, checkpoints: Sequence[str], layers: str
) -> Scope:
    """What a search chooses from, looked up. checkpoints: empty for all that the store has.

    Raises UnknownNameError for what there is not, and MissingShardsError for a suite that is not
    collected and for a model of which the store has nothing where no checkpoints are named.
    """
    from actstore.evaluate import resolve_suite

    found = resolve_suite(suite, store)
    if absent := {task.name for task in found.tasks} - set(store.tasks()):
        raise MissingShardsError(
            f"{store.url} has not collected {', '.join(sorted(absent))}. Run: actstore collect "
            f"{store.url} --suite {suite}"
        )
    stored = _stored(store, model_name(model))
    if not checkpoints and not stored:
        raise MissingShardsError(
            f"{store.url} holds no states of {model}. Say which checkpoints are searched: "
            "--checkpoints pythia-log"
        )
    names = _named(model, checkpoints, stored) if checkpoints else tuple(stored)
    return Scope(store, model, found, names, _layers(store, model, names, stored, layers))


def _named(model: str, selection: Sequence[str], stored: Sequence[str]) -> tuple[str, ...]:
    """Those a selection names, which exist; the model is not looked up where all are stored."""

    def known() -> Sequence[str]:
        from actstore.extract.checkpoints.sources import known_checkpoints

        return known_checkpoints(model) or stored

    names = select_checkpoints(selection, known)
    if missing := [name for name in names if name not in stored]:
        from actstore.extract.checkpoints.resolve import resolve_checkpoints

        resolve_checkpoints(model, missing)
    return names


def _layers(
    store: Store, model: str, names: Sequence[str], stored: Sequence[str], layers: str
) -> tuple[int, ...]:
    if stored:
        group = store.checkpoint(model_name(model), stored[-1])
        return group.layers if layers == "all" else parse_layers(layers, group.spec.n_blocks)
    from actstore.extract import ExtractionRequest
    from actstore.extract.plan import outline_all

    request = ExtractionRequest(model, (names[0],), layers)
    return tuple(outline_all(request)[0].layers)


def _stored(store: Store, model: str) -> list[str]:
    return store.checkpoints(model) if model in store.models() else []


def _has(group: CheckpointGroup, pooling: str, rows: NDArray[np.int64]) -> bool:
    try:
        group.require(pooling, rows)
    except (MissingShardsError, UnknownNameError):
        return False
    return True
