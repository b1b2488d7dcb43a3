"""Texts, views and tasks of one store in another, whose rows may differ."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

import numpy as np
import pyarrow as pa

from actstore.errors import PlanMismatchError
from actstore.store.bundles import TaskBundle
from actstore.store.moving.objects import copy_below
from actstore.store.moving.rows import RowMap
from actstore.store.sharing.leases import ADDING_TEXTS, alone
from actstore.store.storage import join
from actstore.store.store import Store, open_store
from actstore.store.texts.table import TextTable
from actstore.store.texts.views import rows_new_with_views

_CALLS = "calls"
_OF_VIEWS = ("n_texts", "n_views", "content")
"""Attributes of a view set that say what is in it; they are found anew."""
_AT_ONCE = 1 << 20


def merge_texts(source: Store, target: Store, advance: Callable[[int], None]) -> RowMap:
    """Bring a source's texts and views into a target; where they are there.

    A target whose texts are the first of the source's, or that has none, gets them at the same
    rows, so that shards are copied as they are. Else new texts are appended.
    """
    if _is_beginning(target, source):
        copy_below(source.storage, target.storage, "texts", advance)
        copy_below(source.storage, target.storage, "views", advance, _no_begun)
    else:
        _add_texts(source, target)
        _add_views(source, target)
    return RowMap.by_text(TextTable(source.storage), TextTable(target.storage))


def require_same_tasks(source: Store, target: Store) -> None:
    """Raise PlanMismatchError for tasks of one name whose data or texts differ."""
    there = {*target.tasks()}
    for name in (name for name in source.tasks() if name in there):
        ours, theirs = (_identity(store.task(name)) for store in (target, source))
        if ours != theirs:
            raise PlanMismatchError(
                f"The task {name} of {source.url} has other data, splits or texts than that of "
                f"{target.url}. Collect it again in one of them: actstore collect {source.url} "
                f"--suite {quote(name)}"
            )


def merge_tasks(source: Store, target: Store, rows: RowMap) -> None:
    """Bring a source's tasks and suites into a target; those that it has stay."""
    there = {*target.tasks()}
    for name in (name for name in source.tasks() if name not in there):
        bundle = source.task(name)
        if rows.keeps(bundle.rows()):
            copy_below(source.storage, target.storage, join("tasks", name), lambda _: None)
        else:
            tables = {table: bundle.table(table) for table in bundle.files if table != _CALLS}
            target.write_task(name, bundle.manifest, _mapped(bundle.calls(), rows), tables)
    suites = {*target.suites()}
    for name in (name for name in source.suites() if name not in suites):
        target.write_suite(name, source.suite(name))


def _is_beginning(target: Store, source: Store) -> bool:
    ours, theirs = TextTable(target.storage), TextTable(source.storage)
    spans = ours.spans()
    if spans != theirs.spans()[: len(spans)] or not {*target.views()} <= {*source.views()}:
        return False
    rows = ours.rows()
    return bool((ours.hashes_of(rows) == theirs.hashes_of(rows)).all())


def _add_texts(source: Store, target: Store) -> None:
    """Append all but those that came with view sets, which `_add_views` adds as views."""
    views = rows_new_with_views(source.storage)
    rows = np.setdiff1d(source.text_rows(), views, assume_unique=True)
    with alone(target.storage, ADDING_TEXTS):
        for start in range(0, len(rows), _AT_ONCE):
            target.add_texts(source.read_texts(rows[start : start + _AT_ONCE]))


def _add_views(source: Store, target: Store) -> None:
    for name in source.views():
        views = source.view_set(name)
        made = {key: value for key, value in views.attributes.items() if key not in _OF_VIEWS}
        sources = open_store(target.url).rows_of(source.read_texts(views.source_rows))
        texts = source.read_texts(views.rows.ravel())
        by_text = [texts[at : at + views.n_views] for at in range(0, len(texts), views.n_views)]
        target.add_views(name, sources, by_text, made)


def _identity(bundle: TaskBundle) -> object:
    """What must be the same in two bundles of a task."""
    return bundle.manifest.get("digest") or bundle.manifest


def _mapped(calls: pa.Table, rows: RowMap) -> pa.Table:
    """The calls with the target's rows."""
    column = calls["rows"].combine_chunks()
    found = rows.to_target(column.flatten().to_numpy(zero_copy_only=False))
    mapped = pa.ListArray.from_arrays(column.offsets, pa.array(found, pa.int64()))
    return calls.set_column(calls.schema.get_field_index("rows"), "rows", mapped)


def _no_begun(key: str) -> bool:
    return not key.endswith(".begun.json")
