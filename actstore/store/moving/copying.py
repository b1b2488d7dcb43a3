"""Copying a store, or part of it, to another place."""

from __future__ import annotations

import os
from dataclasses import dataclass

from actstore.errors import CorruptShardError, NotAStoreError
from actstore.progress import progress
from actstore.store.moving.checkpoints import Moved, move_checkpoint
from actstore.store.moving.objects import copy_below
from actstore.store.moving.plan import CopyPlan, document_folders, plan_copy, require_fits
from actstore.store.moving.request import CopyRequest, choose, wanted_rows, wanted_tasks
from actstore.store.moving.results import ResultFilter, move_fits, move_results
from actstore.store.moving.rows import RowMap
from actstore.store.storage import open_storage
from actstore.store.store import Store, create_store, open_store

Url = str | os.PathLike[str]


@dataclass(frozen=True)
class CopyReport:
    """What a copy did."""

    plan: CopyPlan
    """What there was to write."""
    n_results: int
    """Records of scores and metrics that were added."""
    moved: tuple[Moved, ...]
    verified: bool
    """Whether every byte of the target was read again."""


def planned_copy(source: Store, target: Url, request: CopyRequest) -> CopyPlan:
    """What a copy would write; nothing is written.

    Raises what `copy_store` raises before it writes.
    """
    storage = open_storage(target)
    try:
        there: Store | None = open_store(target)
    except NotAStoreError:
        there = None
    plan = plan_copy(source, there, storage.url, request)
    require_fits(storage, plan.n_bytes)
    return plan


def copy_store(
    source: Store, target: Url, request: CopyRequest, *, verify: bool = True
) -> CopyReport:
    """Copy a store, or part of it; a copy that was stopped is gone on with.

    Rows keep their numbers: the text table is copied whole, and of states the shards that hold any
    text that is asked for. What the target has already stays. verify: read all of the target again
    at the end.

    Raises UnknownNameError and InvalidInputError for what the source does not have, DiskSpaceError
    for a target without the space, PlanMismatchError for one that has other things under the same
    names, all before anything is written; StateRangeError for states that the asked dtype cannot
    hold; CorruptShardError for damage in the source, or found at the end.
    """
    plan = planned_copy(source, target, request)
    made = create_store(target)
    wanted, rows = wanted_rows(source, request), RowMap.same(source.text_rows())
    with progress("Copying", plan.n_bytes, "B") as advance:
        for folder, keep in document_folders(source, request).items():
            copy_below(source.storage, made.storage, folder, advance, keep)
        made = open_store(target)  # with the texts that it has now
        moved = [
            move_checkpoint(chosen, made, rows, wanted, advance)
            for chosen in (choose(source, request) if request.states else [])
        ]
    n_results = _copy_results(source, made, request, rows) if request.results else 0
    if verify:
        require_sound(made)
    return CopyReport(plan, n_results, tuple(moved), verify)


def require_sound(store: Store) -> None:
    """Read every byte of a store; CorruptShardError if any is not as it was written."""
    from actstore.store.verify import verify_store

    problems = verify_store(open_store(store.url)).problems
    if problems:
        raise CorruptShardError(
            f"{store.url} is damaged in {len(problems)} places, the first: {problems[0].key} "
            f"({problems[0].what}). Run: actstore verify {store.url} --repair, then the same "
            "command again."
        )


def _copy_results(source: Store, target: Store, request: CopyRequest, rows: RowMap) -> int:
    chosen = choose(source, request)
    if request.all_checkpoints:
        move_fits(source.storage, target.storage)
    meant = ResultFilter(
        checkpoints=None
        if request.all_checkpoints
        else {(one.source.model, one.source.checkpoint) for one in chosen},
        layers=None if request.layers is None else {n for one in chosen for n in one.spec.layers},
        poolings=_poolings(request),
        tasks=None if request.texts is None else wanted_tasks(source, request),
    )
    return move_results(source.storage, target.storage, meant, rows)


def _poolings(request: CopyRequest) -> set[str] | None:
    """As scores and metrics name them; where there is no final norm, both names mean the same."""
    if not request.poolings:
        return None
    return {*request.poolings, *(name.removesuffix("_normed") for name in request.poolings)}
