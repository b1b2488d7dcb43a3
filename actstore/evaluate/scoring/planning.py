"""Which scores an evaluation has to compute, found out before any process starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import versions
from actstore.evaluate.scoring.worker import Unit
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.refs import look_up, parse_layers
from actstore.store import CheckpointGroup, Store, TaskBundle


@dataclass(frozen=True)
class EvaluationRequest:
    """What to score."""

    model: str
    suite: Suite | str | tuple[str, ...]
    """A suite, the name of one or of a task, or the names of several tasks."""
    checkpoints: tuple[str, ...] = ()
    """Empty: all that the store has."""
    layers: str = "all"
    poolings: tuple[str, ...] = ("mean_normed",)
    """mean_normed is what the Layer by Layer paper scores."""
    workers: int = 1
    """Processes, of one thread each."""
    overwrite: bool = False
    """Score again what was scored on the same data and states."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The units to score and what was scored before."""

    suite: Suite
    todo: tuple[Unit, ...]
    """Task by task, so that a process loads a task once for all layers and checkpoints."""
    skipped: int


def plan_evaluation(store: Store, request: EvaluationRequest) -> EvaluationPlan:
    """The units of a request less those that were scored before.

    Raises UnknownNameError for a suite, task, checkpoint, layer or pooling there is not,
    MissingShardsError for states that were never extracted, InvalidInputError for tasks that were
    collected with another mteb.
    """
    if request.workers < 1:
        raise InvalidInputError(f"An evaluation needs 1 worker or more, not {request.workers}.")
    suite = resolve_suite(request.suite, store)
    names = store.select_checkpoints(request.model, request.checkpoints)
    groups = [store.checkpoint(request.model, name) for name in names]
    units: list[Unit] = []
    for task in suite.tasks:
        bundle = _collected(store, suite, task)
        _require_states(bundle, groups, request)
        units += [unit for group in groups for unit in _units(task, bundle, group, request)]
    known = set() if request.overwrite else _scored(store.scores())
    todo = tuple(unit for unit in units if not _entries(unit) <= known)
    return EvaluationPlan(suite, todo, len(units) - len(todo))


def _units(
    task: TaskSelection, bundle: TaskBundle, group: CheckpointGroup, request: EvaluationRequest
) -> list[Unit]:
    digest, task_type = _inputs_digest(task, bundle, group), bundle.manifest["type"]
    return [
        Unit(task, task_type, group.model, group.checkpoint, layer, pooling, digest)
        for pooling in dict.fromkeys(request.poolings)
        for layer in _layers(group, request.layers)
    ]


def _layers(group: CheckpointGroup, selection: str) -> tuple[int, ...]:
    return group.layers if selection == "all" else parse_layers(selection, group.spec.n_blocks)


def _inputs_digest(task: TaskSelection, bundle: TaskBundle, group: CheckpointGroup) -> str:
    """Identifies what a unit's scores depend on: task data, splits and subsets run, and states."""
    inputs = [
        bundle.manifest["digest"],
        [*task.splits],
        [*task.subsets],
        group.spec.digest(),
        versions(),
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def _collected(store: Store, suite: Suite, task: TaskSelection) -> TaskBundle:
    """A task's bundle, which must cover the splits and subsets asked for."""
    add = f"Collect it: actstore collect {store.url} --suite {suite.name!r}"
    look_up("collected task in this store", task.name, store.tasks(), add)
    bundle = store.task(task.name)
    selection = TaskSelection.from_json(bundle.manifest["selection"])
    missing = {*task.splits, *task.subsets} - {*selection.splits, *selection.subsets}
    if missing:
        raise InvalidInputError(
            f"{store.url} has {task.name} without {', '.join(sorted(missing))}: it was collected "
            f"for {', '.join(selection.splits)} of {', '.join(selection.subsets)}. {add}"
        )
    collected, installed = bundle.manifest["versions"]["mteb"], versions()["mteb"]
    if collected != installed:
        raise InvalidInputError(
            f"{task.name} was collected with mteb {collected}, installed is {installed}: scores "
            f"would be of neither. {add}, or: pip install mteb=={collected}"
        )
    return bundle


def _require_states(
    bundle: TaskBundle, groups: Iterable[CheckpointGroup], request: EvaluationRequest
) -> None:
    """Raise for a pooling, layer or row that evaluation would miss later."""
    rows = np.sort(bundle.rows())
    for group in groups:
        for pooling in request.poolings:
            group.require(pooling, rows)
            for layer in _layers(group, request.layers):
                group.read(pooling, layer, rows[:0])


def _entries(unit: Unit) -> set[tuple[object, ...]]:
    return {
        (*(unit.model, unit.checkpoint, unit.layer, unit.pooling), unit.task.name, *entry)
        for entry in unit.entries()
    }


def _scored(scores: pd.DataFrame) -> set[tuple[object, ...]]:
    """The entries there are scores of, with the digests of their inputs."""
    unit = ["model", "checkpoint", "layer", "pooling", "task", "split", "subset"]
    columns = [*unit, "inputs_digest"]
    return set(scores[columns].itertuples(index=False, name=None))
