"""Bringing stores together that were made in different places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from actstore.errors import InvalidInputError, NotAStoreError
from actstore.progress import progress
from actstore.store.moving.checkpoints import Moved, move_checkpoint, stored_checkpoint
from actstore.store.moving.copying import Url, require_sound
from actstore.store.moving.merging_texts import merge_tasks, merge_texts, require_same_tasks
from actstore.store.moving.objects import copy_missing
from actstore.store.moving.plan import plan_checkpoint, require_fits
from actstore.store.moving.request import CopyRequest, choose
from actstore.store.moving.results import ResultFilter, move_fits, move_results
from actstore.store.moving.samples import require_same_samples
from actstore.store.records.plan import CheckpointSpec, require_same
from actstore.store.storage import open_storage
from actstore.store.store import Store, create_store, open_store

_EVERYTHING = CopyRequest()
_OF_MODEL = ("max_tokens", "tokenizer_digest")
"""What all checkpoints of a model in a store share."""


@dataclass(frozen=True)
class Unfinished:
    """A checkpoint that lacks states of some of the texts that the store has by now."""

    model: str
    checkpoint: str
    n_shards: int
    command: str
    """Makes them."""


@dataclass(frozen=True)
class MergeReport:
    """What a merge did."""

    target: str
    n_texts_before: int
    n_texts: int
    n_results: int
    """Records of scores and metrics that were added."""
    moved: tuple[Moved, ...]
    unfinished: tuple[Unfinished, ...]
    verified: bool


def merge_stores(target: Url, sources: Sequence[Store], *, verify: bool = True) -> MergeReport:
    """Bring all that some stores hold into one, made if it is not there; texts meet by their hash.

    Shards of the same rows and plan are copied as they are, others are made of the states that
    their texts have. What the target has already stays, also where a source has other bytes for
    it: both are states of the same model and texts. Of scores and metrics the latest counts. A
    merge that was stopped is gone on with.

    Raises PlanMismatchError for checkpoints or tasks of one name that differ in more than rows,
    and DiskSpaceError, before anything is written; CorruptShardError for damage in a source.
    """
    there = _opened(target)
    _check(there, sources, str(target))
    made = create_store(target)
    before, moved, n_results = len(made.text_rows()), [], 0
    for source in sources:
        of_source, added = _merge(source, made)
        moved += of_source
        n_results += added
    made = open_store(target)
    if verify:
        require_sound(made)
    left = tuple(_unfinished(made, {(one.model, one.checkpoint) for one in moved}))
    return MergeReport(
        made.url, before, len(made.text_rows()), n_results, tuple(moved), left, verify
    )


def _opened(target: Url) -> Store | None:
    try:
        return open_store(target)
    except NotAStoreError:
        return None


def _check(target: Store | None, sources: Sequence[Store], url: str) -> None:
    """Raise what `merge_stores` raises before it writes."""
    stores = [*([] if target is None else [target]), *sources]
    urls = [store.url for store in stores]
    if len({*urls}) < len(urls) or open_storage(url).url in [one.url for one in sources]:
        raise InvalidInputError("A store was given twice: merge brings different stores together.")
    for place, store in enumerate(stores):
        for other in stores[:place]:
            require_same_tasks(store, other)
            _require_same_plans(store, other)
    n_bytes = sum(
        plan_checkpoint(one, None, source.text_rows()).n_bytes
        for source in sources
        for one in choose(source, _EVERYTHING)
        if target is None or stored_checkpoint(target, one.source) is None
    )
    require_fits(open_storage(url), n_bytes)


def _require_same_plans(store: Store, other: Store) -> None:
    """Raise PlanMismatchError, naming fields and values, for what two stores have differently."""
    for model in sorted({*store.models()} & {*other.models()}):
        ours, theirs = (
            {name: one.checkpoint(model, name).spec for name in one.checkpoints(model)}
            for one in (store, other)
        )
        remedy = f"{store.url} and {other.url} cannot be merged; keep them apart."
        for name in (name for name in ours if name in theirs):
            what = f"{model} at {name} in {other.url}"
            require_same(what, theirs[name].compared(), ours[name].compared(), remedy)
            require_same_samples(store.checkpoint(model, name), other.checkpoint(model, name))
        if ours and theirs:
            first, second = (_shared(next(iter(specs.values()))) for specs in (theirs, ours))
            require_same(f"{model} in {other.url}", first, second, remedy)


def _shared(spec: CheckpointSpec) -> dict[str, str | int]:
    compared = spec.compared()
    return {name: compared[name] for name in _OF_MODEL}  # type: ignore[misc]


def _merge(source: Store, target: Store) -> tuple[list[Moved], int]:
    """Bring one store into another; what became of its checkpoints, and results added."""
    chosen = choose(source, _EVERYTHING)
    n_bytes = sum(plan_checkpoint(one, None, source.text_rows()).n_bytes for one in chosen)
    with progress(f"Merging {source.url}", n_bytes, "B") as advance:
        rows = merge_texts(source, target, advance)
        target = open_store(target.url)  # with the texts that it has now
        merge_tasks(source, target, rows)
        copy_missing(source.storage, target.storage, "experiments")
        wanted = np.sort(rows.to_target(source.text_rows()))
        moved = [move_checkpoint(one, target, rows, wanted, advance) for one in chosen]
    move_fits(source.storage, target.storage)
    return moved, move_results(source.storage, target.storage, ResultFilter(), rows)


def _unfinished(store: Store, merged: set[tuple[str, str]]) -> list[Unfinished]:
    """The checkpoints that lack shards of some of the store's texts."""
    found = []
    for model, checkpoint in sorted(merged):
        group = store.checkpoint(model, checkpoint)
        poolings = group.poolings()
        n_shards = len(group.todo(store.text_rows(), poolings))
        if n_shards:
            command = (
                f"actstore extract {store.url} --model {quote(model)} "
                f"--checkpoints {quote(checkpoint)} "
                f"--pooling {','.join(poolings)}"
            )
            found.append(Unfinished(model, checkpoint, n_shards, command))
    return found
