"""Objects that are the same in every store: they are copied byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actstore.errors import PlanMismatchError
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
)
from actstore.store.moving.records import add_records
from actstore.store.storage import Storage, StoredObject

_JOURNAL = ".jsonl"
_SMALL = 1 << 20
"""Up to so many bytes, objects of one size are compared."""
_LAST = (DOCUMENT, "manifest.json")
"""What makes the objects beside it exist."""
_BEFORE_JOURNALS, _JOURNALS, _DOCUMENTS, _ROOT = range(4)

Keep = Callable[[str], bool]


def everything(_: str) -> bool:
    return True


def missing_objects(
    source: Storage, target: Storage | None, prefix: str, keep: Keep = everything
) -> Iterator[StoredObject]:
    """The objects below a prefix that a target lacks, journals aside; what counts others last.

    Objects that never change are compared by their size where they are large; `verify` compares
    the rest. Raises PlanMismatchError for one that is another in the target.
    """
    there = {} if target is None else {one.key: one.size for one in target.objects(prefix)}
    for one in sorted(source.objects(prefix), key=lambda one: (_is_last(one.key), one.key)):
        if one.key.endswith(_JOURNAL) or not keep(one.key):
            continue
        if one.key not in there:
            yield one
        elif target is not None and not _is_node(one.key):
            _require_same(source, target, one, there[one.key])


def copy_below(
    source: Storage,
    target: Storage,
    prefix: str,
    advance: Callable[[int], None],
    keep: Keep = everything,
) -> None:
    """Copy what a target lacks below a prefix: objects as they are, and records of journals."""
    for one in list(missing_objects(source, target, prefix, keep)):
        copy_object(source, target, one.key)
        advance(one.size)
    for folder in sorted(
        {
            one.key.rpartition("/")[0]
            for one in source.objects(prefix)
            if one.key.endswith(_JOURNAL) and keep(one.key)
        }
    ):
        add_records(source, target, folder)


def rank(key: str) -> tuple[int, str]:
    """Sorts objects so that each comes behind what it makes count: the store's document last."""
    if key == DOCUMENT:
        return _ROOT, key
    if _is_last(key):
        return _DOCUMENTS, key
    return _JOURNALS if key.endswith(_JOURNAL) else _BEFORE_JOURNALS, key


def copy_missing(source: Storage, target: Storage, prefix: str, keep: Keep = everything) -> None:
    """Copy the objects below a prefix that a target lacks; others stay as they are there."""
    there = {one.key for one in target.objects(prefix)}
    for one in sorted(source.objects(prefix), key=lambda one: (_is_last(one.key), one.key)):
        if one.key not in there and not one.key.endswith(_JOURNAL) and keep(one.key):
            copy_object(source, target, one.key)


def copy_object(source: Storage, target: Storage, key: str) -> None:
    """Copy one object; one that is there stays, if it is the same."""
    data = source.read(key)
    try:
        target.create(key, data)
    except FileExistsError:
        if target.read(key) != data:
            raise _another(target, key) from None


def _is_last(key: str) -> bool:
    return key.rpartition("/")[2] in _LAST


def _is_node(key: str) -> bool:
    """Groups of a store's own folders are there in any store."""
    return key.rpartition("/")[2] == DOCUMENT


def _require_same(source: Storage, target: Storage, one: StoredObject, size: int) -> None:
    same = size == one.size and (size > _SMALL or source.read(one.key) == target.read(one.key))
    if not same:
        raise _another(target, one.key)


def _another(target: Storage, key: str) -> PlanMismatchError:
    return PlanMismatchError(
        f"{target.url} has another {key}. Copy into a store of its own, or bring two stores "
        f"together: actstore merge {target.url} SOURCE"
    )
