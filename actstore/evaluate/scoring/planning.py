"""Which scores an evaluation has to compute, found out before any process starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import TypeAlias

import numpy as np
import pandas as pd

from actstore.dask_pool.places import WorkerJobs
from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import IS_VERSIONS
from actstore.evaluate.scoring.conditions import Conditions, versions
from actstore.evaluate.scoring.fitting import fit_digest
from actstore.evaluate.scoring.transform import Representation, Transform, representations
from actstore.evaluate.scoring.unit import Unit
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.refs import look_up, parse_layers
from actstore.shares import Share
from actstore.store import CheckpointGroup, Store, TaskBundle
from actstore.store.records.documents import is_table, is_text


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
    transforms: tuple[str, ...] = ("",)
    """Steps at reading time, such as `center+l2`, see Transform; each is scored. Empty: none."""
    workers: int = 1
    """Processes."""
    dask: str | None = None
    """Score on Dask workers: `local` (`workers` processes), `slurm`, or a scheduler's address."""
    worker_jobs: WorkerJobs | None = None
    """What the jobs of `slurm` ask for."""
    conditions: Conditions = field(default_factory=Conditions)
    overwrite: bool = False
    """Score again what was scored on the same data and states."""
    share: Share | None = None
    """Only this part: of every task, neighbouring checkpoints. None: all of it."""
    only: frozenset[tuple[str, int, str]] | None = None
    """Of all these, only some: (checkpoint, layer, task). None: all of them."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The units to score and what was scored before."""

    suite: Suite
    todo: tuple[Unit, ...]
    """Task by task, so that a process loads a task once for all layers and checkpoints."""
    skipped: int
    """Of the request's share, where it has one."""


def plan_evaluation(store: Store, request: EvaluationRequest) -> EvaluationPlan:
    """The units of a request, or of its share of them, less those that were scored before.

    A share is the same part whatever was scored meanwhile, so that shares that run one after the
    other leave nothing out.
    Raises UnknownNameError for a suite, task, checkpoint, layer or pooling there is not,
    MissingShardsError for states that were never extracted, InvalidInputError for a transform
    there is not and for tasks that were collected with another mteb or of other data.
    """
    if request.workers < 1 or request.conditions.threads < 1:
        raise InvalidInputError(
            f"An evaluation needs 1 worker of 1 thread or more, not {request.workers} of "
            f"{request.conditions.threads}."
        )
    suite = resolve_suite(request.suite, store)
    names = store.select_checkpoints(request.model, request.checkpoints)
    groups = store.checkpoint_groups(request.model, names)
    wanted = [_wanted(group, request) for group in groups]
    collected = store.tasks()
    units: list[Unit] = []
    for place, task in enumerate(suite.tasks):
        bundle = _collected(store, suite, task, collected)
        for one in wanted:
            _require_states(bundle, one)
        states: Sequence[_States] = [(one, found) for one in wanted for found in one.fits]
        if request.share is not None:
            states = request.share.part(states, shift=place)
        units += [_unit(task, bundle, one, request.conditions) for one in states]
    if request.only is not None:
        units = [unit for unit in units if _place(unit) in request.only]
    known = set() if request.overwrite else _scored(store.scores())
    todo = tuple(unit for unit in units if not _entries(unit) <= known)
    return EvaluationPlan(suite, todo, len(units) - len(todo))


@dataclass(frozen=True)
class _Wanted:
    """What is scored of a checkpoint, with the digests of what is fitted for it."""

    group: CheckpointGroup
    fits: dict[Representation, str]


_States: TypeAlias = tuple[_Wanted, Representation]
"""What one unit scores."""


def _wanted(group: CheckpointGroup, request: EvaluationRequest) -> _Wanted:
    whole = request.layers == "all"
    layers = group.layers if whole else parse_layers(request.layers, group.spec.n_blocks)
    transforms = [Transform.parse(name) for name in request.transforms]
    found = representations(layers, request.poolings, transforms)
    for one in found:
        for layer in one.layers:
            group.read(one.pooling, layer, np.empty(0, np.int64))  # whether there is such a thing
    return _Wanted(group, {one: fit_digest(group, one) for one in found})


def _unit(task: TaskSelection, bundle: TaskBundle, states: _States, conditions: Conditions) -> Unit:
    wanted, representation = states
    group, fit = wanted.group, wanted.fits[representation]
    return Unit(
        task,
        bundle.told("type", is_text),
        group.model,
        group.checkpoint,
        representation,
        _inputs_digest(task, bundle, group, representation, fit, conditions),
        fit,
    )


def _inputs_digest(
    task: TaskSelection,
    bundle: TaskBundle,
    group: CheckpointGroup,
    representation: Representation,
    fit: str,
    conditions: Conditions,
) -> str:
    """Identifies what a unit's scores depend on.

    Task data, splits and subsets run, states, what is done to them, threads and versions.
    """
    data = [bundle.told("digest", is_text), [*task.splits], [*task.subsets]]
    states = [group.spec.digest(), representation.label, fit]
    inputs = [data, states, conditions.threads, versions()]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def _collected(
    store: Store, suite: Suite, task: TaskSelection, collected: Sequence[str]
) -> TaskBundle:
    """A task's bundle, which must cover the splits and subsets asked for."""
    add = f"Collect it: actstore collect {store.url} --suite {quote(suite.name)}"
    look_up("collected task in this store", task.name, collected, add)
    bundle = store.task(task.name)
    selection = TaskSelection.from_json(bundle.told("selection", is_table))
    missing = {*task.splits, *task.subsets} - {*selection.splits, *selection.subsets}
    if missing:
        raise InvalidInputError(
            f"{store.url} has {task.name} without {', '.join(sorted(missing))}: it was collected "
            f"for {', '.join(selection.splits)} of {', '.join(selection.subsets)}. {add}"
        )
    _require_same_mteb(bundle, add)
    return bundle


def _require_same_mteb(bundle: TaskBundle, add: str) -> None:
    """Raise where a task was collected with another mteb, or of data that this one does not pin."""
    collected, installed = bundle.told("versions", IS_VERSIONS)["mteb"], versions()["mteb"]
    if collected != installed:
        raise InvalidInputError(
            f"{bundle.name} was collected with mteb {collected}, installed is {installed}: scores "
            f"would be of neither. {add}, or: pip install mteb=={collected}"
        )
    revision = bundle.told("dataset", is_table).get("revision")
    pinned = str(catalogue.new_task(bundle.name).metadata.dataset.get("revision"))
    if revision != pinned:
        raise InvalidInputError(
            f"{bundle.name} was collected from revision {revision} of its data, mteb {installed} "
            f"pins {pinned}. {add}"
        )


def _require_states(bundle: TaskBundle, wanted: _Wanted) -> None:
    """Raise for rows that evaluation would miss later."""
    rows = np.sort(bundle.rows())
    for pooling in {one.pooling for one in wanted.fits}:
        wanted.group.require(pooling, rows)


def _place(unit: Unit) -> tuple[str, int, str]:
    return unit.checkpoint, unit.representation.layer, unit.task.name


def _entries(unit: Unit) -> set[tuple[object, ...]]:
    pairs = [(split, subset) for split in unit.task.splits for subset in unit.task.subsets]
    return {(*unit.key, split, subset, unit.inputs) for split, subset in pairs}


def _scored(scores: pd.DataFrame) -> set[tuple[object, ...]]:
    """The entries there are scores of, with the digests of their inputs."""
    unit = ["model", "checkpoint", "layer", "pooling", "transform", "task"]
    columns = [*unit, "split", "subset", "inputs_digest"]
    return set(scores[columns].itertuples(index=False, name=None))
