"""Checks of everything but shards: texts, tasks, documents, tables, journals, heads and lenses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from actstore.errors import ActstoreError
from actstore.store import bundles
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    read_attributes,
)
from actstore.store.heads import vocabulary
from actstore.store.heads.head_group import check_head
from actstore.store.heads.lenses import check_lens, fit_command, lens_attributes, lens_prefix
from actstore.store.records import experiments, journal
from actstore.store.records.damage import Damage
from actstore.store.records.sealing import seal_damage
from actstore.store.results import kept
from actstore.store.results.score_journal import ENVIRONMENTS
from actstore.store.storage import Storage, join
from actstore.store.texts import views
from actstore.store.texts.table import TextTable
from actstore.store.verify.finding import FOLDERS, UNREADABLE, Check, Found, reason
from actstore.store.verify.places import Place

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup
    from actstore.store.store import Store

_FOLDERS = ("models", "texts", "tasks", "suites", "scores", "metrics", "leases", "runs")
"""Those that a store has from the beginning."""
_LATER = ("views", kept.FITS, kept.METRIC_VALUES)
"""Those that it has once something is in them."""
_JOURNALS = {
    "scores/journal": "eval",
    "scores/leaves": "eval",
    "scores/failures": "eval",
    "metrics/journal": "metrics",
    "runs": "",
}
"""Journals of the whole store, and the command that makes again what a damaged line recorded."""


def store_checks(store: Store, texts: TextTable, *, quick: bool) -> Iterator[Check]:
    """What belongs to no model."""
    storage, url = store.storage, store.url

    def damages(array: str, find: Callable[[], Iterable[Damage]], command: str) -> Check:
        return _check(array, find, command=command)

    yield damages("texts", partial(texts.damage, quick=quick), "")
    collect = f"actstore collect {url} --suite …"
    yield damages("tasks", partial(bundles.damage, storage, quick=quick), collect)
    yield damages("views", partial(views.damage, storage, quick=quick), f"actstore views {url} …")
    yield damages("experiments", partial(experiments.damage, storage), "actstore run FILE")
    folders = [*_FOLDERS, *(folder for folder in _LATER if storage.names(folder))]
    yield damages(FOLDERS, partial(_of_folders, storage, folders), "")
    for folder, command in ((kept.FITS, "eval"), (kept.METRIC_VALUES, "metrics")):
        find = partial(kept.damage, storage, folder, quick=quick)
        yield damages(folder, find, f"actstore {command} {url} …")
    yield damages("scores/environments", partial(_environments, storage, quick=quick), "")
    for folder, command in _JOURNALS.items():
        again = f"actstore {command} {url} …" if command else ""
        yield damages(folder, partial(journal.damage, storage, folder), again)


def model_checks(store: Store, place: Place, *, quick: bool) -> Iterator[Check]:
    """What all checkpoints of a model share."""
    group = place.groups[0] if place.groups else None
    find = partial(store.model_damage, place.model, quick=quick)
    yield _check("model", find, group, model=place.model)
    words = partial(vocabulary.damage, store.storage, place.model, quick=quick)
    yield _check("vocabulary", words, group, model=place.model)
    for found in place.unreadable:
        yield Check(partial(iter, [found]), lambda _, found=found: found)  # type: ignore[misc]


def group_checks(group: CheckpointGroup, *, quick: bool) -> Iterator[Check]:
    """What a checkpoint has besides shards."""
    document = join(group.prefix, DOCUMENT)
    yield _check("checkpoint", partial(group.damage, quick=quick), group, key=document)
    inside = {"ledger": True, "tokens": group.token_samples(), "lenses": group.lenses()}
    folders = [join(group.prefix, name) for name, there in inside.items() if there]
    yield _check(FOLDERS, partial(_of_folders, group.storage, folders), group)
    ledger = group.ledger
    for folder in (ledger.folder, ledger.removed_folder):
        yield _check("ledger", partial(journal.damage, ledger.storage, folder), group)
    for name in group.token_samples():
        find = partial(_of_sample, group, name, quick=quick)
        document = join(group.prefix, "tokens", name, DOCUMENT)
        yield _check(f"tokens/{name}", find, group, key=document)
    if group.has_head():
        yield _check("head", partial(_head, group, quick=quick), group)
    for name in group.lenses():
        yield _lens_check(group, name, quick=quick)


def _check(
    array: str,
    find: Callable[[], Iterable[Damage]],
    group: CheckpointGroup | None = None,
    *,
    model: str = "",
    command: str = "",
    key: str = "",
) -> Check:
    """group: the checkpoint whose extraction makes it again, and which it belongs to.

    model: that it belongs to, where it is no checkpoint's. key: of what cannot be read where
    looking ends with an error.
    """

    def found(damage: Damage) -> Found:
        if group is None or model:
            return Found(damage, array, model, group=group, command=command)
        return Found(damage, array, group.model, group.checkpoint, group, command=command)

    return Check(
        look=lambda: map(found, find()),
        unreadable=lambda why: found(Damage(key or array, why, remade=False)),
        unit="" if group is None else f"{group.model}/{group.checkpoint}/begin",
    )


def _of_folders(storage: Storage, folders: Iterable[str]) -> Iterator[Damage]:
    """Documents of folders that say no more than that they are Zarr groups."""
    for folder in folders:
        try:
            if read_attributes(storage, folder):
                raise ValueError("it is not the document of an empty group")
        except UNREADABLE as error:
            yield Damage(join(folder, DOCUMENT), reason(error), remade=True)


def _environments(storage: Storage, *, quick: bool) -> Iterator[Damage]:
    for name in storage.names(ENVIRONMENTS):
        if name != DOCUMENT:
            yield from seal_damage(storage, join(ENVIRONMENTS, name), quick=quick, remade=False)


def _of_sample(group: CheckpointGroup, name: str, *, quick: bool) -> Iterator[Damage]:
    yield from group.token_sample(name).damage(quick=quick)


def _head(group: CheckpointGroup, *, quick: bool) -> Iterator[Damage]:
    try:
        check_head(group.storage, group.head_prefix, quick=quick)
    except UNREADABLE as error:
        yield Damage(join(group.head_prefix, DOCUMENT), reason(error), remade=True)


def _lens_check(group: CheckpointGroup, name: str, *, quick: bool) -> Check:
    key = join(lens_prefix(group, name), DOCUMENT)

    def found(why: str) -> Found:
        damage = Damage(key, why, remade=True)
        return Found(damage, f"lenses/{name}", group.model, group.checkpoint, command=again())

    def again() -> str:
        try:
            return fit_command(group, lens_attributes(group, name))
        except ActstoreError:  # they are what is damaged
            return ""

    def look() -> Iterator[Found]:
        check_lens(group, name, quick=quick)
        return iter(())

    return Check(look, found)
