"""Dropping checkpoints, or poolings of them, that are no longer wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from shlex import quote

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step, look_up, model_key, model_name, ranges
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.moving.records import remove_records
from actstore.store.moving.relaying import POOL
from actstore.store.moving.results import METRIC_JOURNAL, SCORE_JOURNALS, ResultFilter
from actstore.store.records.journal import journals, read_records
from actstore.store.records.ledger import Ledger
from actstore.store.results.records import MTEB_RESULTS
from actstore.store.schema import N_TOKENS, TRUNCATED
from actstore.store.sharing.leases import Leases, live_leases
from actstore.store.storage import join
from actstore.store.store import Store

_LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class DropRequest:
    """What is dropped."""

    model: str
    checkpoints: tuple[str, ...]
    """Names, globs, ranges, `last:50`, presets."""
    poolings: tuple[str, ...] = ()
    """Only these arrays; empty: the checkpoints with all they have."""
    results: bool = False
    """Whether their scores and metrics go too."""


@dataclass(frozen=True)
class DroppedCheckpoint:
    """What goes with one checkpoint."""

    checkpoint: str
    prefix: str
    """Its group."""
    poolings: tuple[str, ...]
    """Only these; empty: all."""
    n_bytes: int
    command: str
    """What would make it again; empty for what an earlier drop left when it was stopped."""


@dataclass(frozen=True)
class DropPlan:
    """What a drop removes."""

    model: str
    checkpoints: tuple[DroppedCheckpoint, ...]
    whole_model: bool
    """Whether the model has no other checkpoint."""
    n_results: int
    """Records of scores and metrics of these checkpoints."""
    results: bool
    """Whether they go too."""

    @property
    def n_bytes(self) -> int:
        return sum(one.n_bytes for one in self.checkpoints)


def plan_drop(store: Store, request: DropRequest) -> DropPlan:
    """What a drop would remove. Raises UnknownNameError for what the store does not have."""
    model = _known_model(store, request.model)
    left = _left_behind(store, model)
    names = _chosen(store, model, request, sorted(left))
    gone = [left[name] for name in names if name in left]
    dropped = [
        _planned(store.checkpoint(model, name), request) for name in names if name not in left
    ]
    stays = {*store.checkpoints(model)} - {*names}
    meant = _meant(model, request, names)
    return DropPlan(
        model,
        (*dropped, *gone),
        whole_model=not stays and not request.poolings,
        n_results=sum(
            meant(record)
            for folder in ("scores/journal", METRIC_JOURNAL)
            for record in read_records(store.storage, folder)
        ),
        results=request.results,
    )


def drop(store: Store, request: DropRequest) -> DropPlan:
    """Remove what a request means; what was removed. One that was stopped is gone on with.

    What makes data count goes first, the bytes last: a reader never finds half of something.
    Raises UnknownNameError for what the store does not have, InvalidInputError while workers are
    at any of it; nothing is removed then.
    """
    plan = plan_drop(store, request)
    with _no_workers(store, plan):
        for one in plan.checkpoints:
            if one.poolings:
                _drop_poolings(store, plan.model, one)
            else:
                _drop_checkpoint(store, one.prefix)
        if request.results:
            names = [one.checkpoint for one in plan.checkpoints]
            _drop_results(store, _meant(plan.model, request, names))
        if plan.whole_model:
            _drop_model(store, plan.model)
    return plan


def _known_model(store: Store, model: str) -> str:
    names = store.models()
    name = model if model in names else model_name(model)
    return look_up("model in this store", name, names, f"List: actstore info {store.url}")


def _chosen(store: Store, model: str, request: DropRequest, left: Sequence[str]) -> list[str]:
    """The checkpoints that are meant; of those left behind, the ones that are named."""
    named = [name for name in request.checkpoints if name in left]
    others = [name for name in request.checkpoints if name not in left]
    if not store.checkpoints(model):
        others = []  # the rest of a model that a drop was stopped at
    stored = [*store.select_checkpoints(model, others)] if others else []
    return by_training_step({*stored, *named})


def _left_behind(store: Store, model: str) -> dict[str, DroppedCheckpoint]:
    """Groups without a document: a drop that was stopped has left their bytes."""
    prefix = join("models", model_key(model))
    arrays = {N_TOKENS.name, TRUNCATED.name}
    found = {}
    for name in store.storage.names(prefix):
        group = join(prefix, name)
        if name in arrays or "." in name or store.storage.exists(join(group, DOCUMENT)):
            continue
        n_bytes = sum(one.size for one in store.storage.objects(group))
        found[name] = DroppedCheckpoint(name, group, (), n_bytes, "")
    return found


def _planned(group: CheckpointGroup, request: DropRequest) -> DroppedCheckpoint:
    stored = group.poolings()
    asked = sorted({group.stored_pooling(name) for name in request.poolings})
    for name in asked:
        look_up("stored pooling", name, stored, f"List: actstore info {group.storage.url}")
    prefixes = [join(group.prefix, name + POOL) for name in asked] or [group.prefix]
    objects = chain.from_iterable(group.storage.objects(prefix) for prefix in prefixes)
    return DroppedCheckpoint(
        group.checkpoint,
        group.prefix,
        tuple(asked),
        sum(one.size for one in objects),
        _again(group, asked or stored),
    )


def _again(group: CheckpointGroup, poolings: Sequence[str]) -> str:
    """What makes a checkpoint's states again."""
    spec = group.spec
    whole = len(spec.layers) == spec.n_blocks + 1
    layers = "" if whole else f" --layers {ranges(spec.layers).replace(' ', '')}"
    return (
        f"actstore extract {group.storage.url} --model {quote(spec.model)} --checkpoints "
        f"{quote(spec.checkpoint)}{layers} --pooling {','.join(poolings)} --dtype {spec.dtype}"
    )


@contextmanager
def _no_workers(store: Store, plan: DropPlan) -> Iterator[None]:
    """Keep workers from beginning the checkpoints. InvalidInputError if any is at one of them."""
    units = [f"{plan.model}/{one.checkpoint}/" for one in plan.checkpoints]
    busy = [
        lease
        for lease in live_leases(store.storage)
        if lease.unit.startswith((*units, f"lenses/{plan.model}/"))
    ]
    if busy:
        raise InvalidInputError(
            f"{len(busy)} workers are at what is to be dropped, one of them on {busy[0].host} "
            f"(process {busy[0].pid}) at {busy[0].unit}. Wait for them or stop them, see: "
            f"actstore status {store.url}"
        )
    with ExitStack() as held:
        leases = held.enter_context(Leases(store.storage, seconds=_LEASE_SECONDS))
        for unit in units:
            held.enter_context(leases.alone(f"{unit}begin"))
        yield


def _drop_checkpoint(store: Store, prefix: str) -> None:
    """Records first, then what makes heads, lenses and samples count, the group, the bytes."""
    storage = store.storage
    ledger = Ledger(storage, prefix)
    for key, _ in list(journals(storage, ledger.folder, check=False)):
        storage.delete(key)
    storage.delete_below(ledger.folder)  # what was removed from it counts no more either
    for part in ("head", "lenses", "tokens"):
        below = join(prefix, part)
        documents = [one.key for one in storage.objects(below) if one.key.endswith(DOCUMENT)]
        for key in sorted(documents, key=len):
            storage.delete(key)
    storage.delete(join(prefix, DOCUMENT))
    storage.delete_below(prefix)


def _drop_poolings(store: Store, model: str, one: DroppedCheckpoint) -> None:
    group = store.checkpoint(model, one.checkpoint)
    arrays = {name + POOL for name in one.poolings}
    remove_records(store.storage, group.ledger.folder, lambda record: record["array"] in arrays)
    prefixes = [join(group.prefix, name) for name in sorted(arrays)]
    for prefix in prefixes:
        store.storage.delete(join(prefix, DOCUMENT))
    # The group's document lists what is left, before the bytes go, by which a drop is found again.
    write_group(store.storage, group.prefix, group.spec.to_attributes(), consolidate=True)
    for prefix in prefixes:
        store.storage.delete_below(prefix)


def _drop_model(store: Store, model: str) -> None:
    """What its checkpoints shared; the document last, by which a stopped drop finds the rest."""
    prefix = join("models", model_key(model))
    for one in store.storage.objects(prefix):
        if one.key != join(prefix, DOCUMENT):
            store.storage.delete(one.key)
    store.storage.delete_below(prefix)


def _drop_results(store: Store, meant: ResultFilter) -> None:
    """Scores before their leaves, so that each that is there has its own."""
    for folder in (*reversed(SCORE_JOURNALS), METRIC_JOURNAL):
        remove_records(store.storage, folder, meant)
    for one in store.storage.objects(MTEB_RESULTS):
        if meant.poolings is None and meant.keeps_file(one.key):
            store.storage.delete(one.key)


def _meant(model: str, request: DropRequest, names: Sequence[str]) -> ResultFilter:
    checkpoints = {(model, name) for name in names}
    return ResultFilter(checkpoints, poolings=request.poolings or None, of_tokens=False)
