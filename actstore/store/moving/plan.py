"""What a copy will write, and why it cannot: found before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote

import numpy as np

from actstore.errors import DiskSpaceError, PlanMismatchError
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.moving.checkpoints import stored_checkpoint
from actstore.store.moving.objects import Keep, everything, missing_objects
from actstore.store.moving.relaying import POOL
from actstore.store.moving.request import (
    ChosenCheckpoint,
    CopyRequest,
    choose,
    wanted_rows,
    wanted_tasks,
)
from actstore.store.moving.rows import Rows
from actstore.store.moving.samples import require_same_samples
from actstore.store.moving.shards import shards_to_copy
from actstore.store.records.plan import require_same
from actstore.store.shards import ShardLayout
from actstore.store.storage import Storage
from actstore.store.store import Store
from actstore.store.texts.table import TextTable

_EXPERIMENTS = "experiments"
_SUITES = "suites"
_TASKS = "tasks"
_TEXTS = "texts"
_VIEWS = "views"
_BEGUN = ".begun.json"


@dataclass(frozen=True)
class CheckpointCopy:
    """What of one checkpoint is written."""

    model: str
    checkpoint: str
    n_shards: int
    """That the target lacks."""
    n_bytes: int
    """Of them; at most, where they are made anew."""
    made_anew: bool
    """Whether layers, dtype or precision change, so that shards are read and encoded again."""


@dataclass(frozen=True)
class CopyPlan:
    """What a copy writes."""

    source: str
    target: str
    n_documents: int
    """Texts, tasks and other objects that are copied as they are."""
    document_bytes: int
    checkpoints: tuple[CheckpointCopy, ...]

    @property
    def n_bytes(self) -> int:
        return self.document_bytes + sum(one.n_bytes for one in self.checkpoints)


def plan_copy(source: Store, target: Store | None, url: str, request: CopyRequest) -> CopyPlan:
    """What a copy would write. target: None where nothing is at `url` yet.

    Raises UnknownNameError and InvalidInputError for what the source does not have, and
    PlanMismatchError for what the target has under another plan.
    """
    if target is not None:
        require_same_texts(source, target)
    folders = document_folders(source, request)
    storage = None if target is None else target.storage
    documents = list(
        chain.from_iterable(
            missing_objects(source.storage, storage, folder, keep)
            for folder, keep in folders.items()
        )
    )
    wanted = wanted_rows(source, request)
    chosen = choose(source, request) if request.states else []
    return CopyPlan(
        source=source.url,
        target=url,
        n_documents=len(documents),
        document_bytes=sum(one.size for one in documents),
        checkpoints=tuple(plan_checkpoint(one, target, wanted) for one in chosen),
    )


def document_folders(source: Store, request: CopyRequest) -> dict[str, Keep]:
    """The folders that are copied as they are, in order, and what of each."""
    tasks: Keep = everything
    suites: Keep = everything
    if request.texts is not None:
        names = {*wanted_tasks(source, request)}
        whole = {suite for suite in source.suites() if _tasks_of(source, suite) <= names}
        tasks, suites = _in_folder(names), _named(whole)
    return {
        _TEXTS: everything,
        _VIEWS: lambda key: not key.endswith(_BEGUN),
        _TASKS: tasks,
        _SUITES: suites,
        _EXPERIMENTS: everything,
    }


def require_same_texts(source: Store, target: Store) -> None:
    """Raise PlanMismatchError unless rows that both stores have hold the same texts."""
    ours, theirs = TextTable(target.storage), TextTable(source.storage)
    shared = np.intersect1d(ours.rows(), theirs.rows(), assume_unique=True)
    if (ours.hashes_of(shared) != theirs.hashes_of(shared)).any():
        raise PlanMismatchError(
            f"{target.url} has other texts at the same rows as {source.url}. Copy into a store of "
            f"its own, or bring the two together: actstore merge {target.url} {source.url}"
        )


def require_fits(storage: Storage, n_bytes: int) -> None:
    """Raise DiskSpaceError if a storage has not so many bytes free."""
    free = storage.free_bytes()
    if free is not None and n_bytes > free:
        raise DiskSpaceError(
            f"{storage.url} has {free / 1e9:,.1f} GB free, and this writes {n_bytes / 1e9:,.1f} "
            "GB. Free some space, copy fewer checkpoints, layers or poolings, or make states "
            "smaller: --precision compact"
        )


def plan_checkpoint(chosen: ChosenCheckpoint, target: Store | None, wanted: Rows) -> CheckpointCopy:
    """What of one checkpoint the target lacks. wanted: rows of the source.

    Raises PlanMismatchError where the target has it under another plan.
    """
    source = chosen.source
    group = None if target is None else stored_checkpoint(target, source)
    if group is not None:
        require_same(
            f"{source.model} at {source.checkpoint} in {group.storage.url}",
            group.spec.compared(),
            chosen.spec.compared(),
            "Copy with what is stored there (--layers, --dtype, --precision), or elsewhere.",
        )
        require_same_samples(source, group)
    sizes = list(_sizes(chosen, group, wanted))
    return CheckpointCopy(
        source.model, source.checkpoint, len(sizes), sum(sizes), not chosen.same_plan
    )


def _sizes(chosen: ChosenCheckpoint, group: CheckpointGroup | None, wanted: Rows) -> Iterator[int]:
    """Bytes of every shard that the target lacks."""
    source = chosen.source
    pools = [f"{name}{POOL}" for name in chosen.poolings]
    samples = [source.token_sample(name).array.name for name in source.token_samples()]
    shards = np.unique(wanted // source.layout.rows_per_shard)
    smaller = _ratio(chosen)
    for name in [*pools, *source.text_values(), *samples]:
        asked = np.array(sorted(source.ledger.present(name))) if name in samples else shards
        done = set() if group is None else set(group.ledger.committed(name))
        for record in shards_to_copy(source, done, name, asked).values():
            yield round(record["bytes"] * smaller)


def _ratio(chosen: ChosenCheckpoint) -> float:
    """Bytes of a row as copied, to those of one as stored; compressed ones count in full."""
    if chosen.same_plan:
        return 1.0
    layout, spec = chosen.source.layout, chosen.spec
    made = ShardLayout(
        len(spec.layers),
        layout.rows_per_shard,
        layout.rows_per_chunk,
        spec.hidden_size,
        spec.dtype,
        spec.precision,
    )
    return made.row_bytes * made.n_layers / (layout.row_bytes * layout.n_layers)


def _tasks_of(source: Store, suite: str) -> set[str]:
    return {task["name"] for task in source.suite(suite)["tasks"]}


def _in_folder(names: set[str]) -> Callable[[str], bool]:
    return lambda key: key.split("/")[1] in names


def _named(suites: set[str]) -> Callable[[str], bool]:
    return lambda key: unquote(key.rpartition("/")[2].removesuffix(".json")) in suites
