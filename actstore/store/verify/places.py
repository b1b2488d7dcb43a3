"""The models and checkpoints of a store, also those whose own documents cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actstore.errors import CorruptShardError
from actstore.refs import look_up, model_key, model_name
from actstore.selection import select_checkpoints
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    read_attributes,
)
from actstore.store.checkpoint import MODEL, CheckpointGroup
from actstore.store.records.damage import Damage
from actstore.store.storage import join
from actstore.store.texts.table import TextTable
from actstore.store.verify.finding import UNREADABLE, Found, reason
from actstore.store.verify.remedies import repair

if TYPE_CHECKING:
    from actstore.store.store import Store

_MODELS = "models"
_ARRAYS = ("n_tokens", "truncated")
"""Of a model: no checkpoints."""


@dataclass(frozen=True)
class Place:
    """A model and those of its checkpoints that are to be checked."""

    model: str
    groups: tuple[CheckpointGroup, ...] = ()
    unreadable: tuple[Found, ...] = ()
    """Documents without which the model or a checkpoint cannot be opened."""


def find_places(
    store: Store, texts: TextTable, model: str | None, checkpoints: Sequence[str]
) -> list[Place]:
    """The models of a store, or the one asked for, with those of its checkpoints asked for.

    checkpoints: see `Store.select_checkpoints`; all for none. Raises UnknownNameError.
    """
    keys = _folders(store, _MODELS)
    if model is not None:
        keys = [key for key in keys if key in (model_key(model), model_key(model_name(model)))]
        if not keys:
            look_up(
                "model in this store", model, store.models(), f"List: actstore info {store.url}"
            )
    places = [_place(store, texts, key) for key in keys]
    if not checkpoints:
        return places
    chosen = [_chosen(place, checkpoints) for place in places]
    if not any(place.groups or place.unreadable for place in chosen):
        there = [group.checkpoint for place in places for group in place.groups]
        listing = f"List: actstore info {store.url}"
        look_up("checkpoint in this store", ",".join(checkpoints), there, listing)
    return chosen


def _place(store: Store, texts: TextTable, key: str) -> Place:
    prefix = join(_MODELS, key)
    try:
        model = str(read_attributes(store.storage, prefix, MODEL)["model"])
        if model_key(model) != key:
            raise CorruptShardError(f"it is of the model {model!r}")
    except UNREADABLE as error:
        damage = Damage(join(prefix, DOCUMENT), reason(error), remade=False)
        return Place(key, unreadable=(Found(damage, "model", key),))
    paths = [join(prefix, name) for name in _folders(store, prefix)]
    opened = [_opened(store, texts, model, path) for path in paths]
    groups = tuple(one for one in opened if isinstance(one, CheckpointGroup))
    return Place(model, groups, tuple(one for one in opened if isinstance(one, Found)))


def _opened(store: Store, texts: TextTable, model: str, prefix: str) -> CheckpointGroup | Found:
    try:
        return CheckpointGroup(store.storage, texts, prefix)
    except UNREADABLE as error:
        name = prefix.rpartition("/")[2]
        damage = Damage(join(prefix, DOCUMENT), reason(error), remade=True)
        command = f"{repair(store.url)}, then extract {name} of {model} as it was extracted before"
        return Found(damage, "checkpoint", model, name, command=command)


def _chosen(place: Place, checkpoints: Sequence[str]) -> Place:
    unreadable = {one.checkpoint for one in place.unreadable}
    there = [*(group.checkpoint for group in place.groups), *sorted(unreadable)]
    names = select_checkpoints(checkpoints, lambda: there, stored=True)
    groups = tuple(group for group in place.groups if group.checkpoint in names)
    return replace(
        place,
        groups=groups,
        unreadable=tuple(one for one in place.unreadable if one.checkpoint in names),
    )


def _folders(store: Store, prefix: str) -> list[str]:
    """What lies in a group: its nodes, and folders with something in them that have lost theirs."""
    names = store.storage.names(prefix)
    return [name for name in names if name not in _ARRAYS and _holds(store, join(prefix, name))]


def _holds(store: Store, prefix: str) -> bool:
    """Whether there is anything below a prefix."""
    try:
        return bool(store.storage.names(prefix))
    except NotADirectoryError:
        return False
