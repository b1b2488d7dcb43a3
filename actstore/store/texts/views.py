"""View sets: which texts of the store are views of which others.

A view is a text like any other: it is extracted with them. As equal texts share a row, one row may
be a view of several texts, and of itself; so what is a view of what stands in tables of its own.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.refs import look_up
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records.damage import Damage
from actstore.store.records.documents import damaged, is_table, parse_json, whole_from
from actstore.store.records.journal import Json
from actstore.store.records.ledger import digest
from actstore.store.records.parquet import is_flag, is_whole
from actstore.store.records.plan import require_same
from actstore.store.records.sealing import (
    read_sealed_json,
    read_sealed_table,
    seal_damage,
    sealed_json,
    sealed_table,
)
from actstore.store.sharing.leases import ADDING_TEXTS, alone
from actstore.store.storage import Storage, join
from actstore.store.texts.table import TextTable, hash_texts

_FOLDER = "views"
_TABLE = ".parquet"
_BEGUN = ".begun.json"
_ATTRIBUTES = b"actstore"
"""The attributes' key in the table's metadata."""
_COLUMNS = {"row": is_whole, "source_row": is_whole, "view": is_whole, "new": is_flag}


@dataclass(frozen=True)
class ViewSet:
    """The same number of views of each of some texts."""

    name: str
    source_rows: NDArray[np.int64]
    """(text,): the texts, each once, in the order they were given in."""
    rows: NDArray[np.int64]
    """(text, view): the rows of each text's views."""
    new_rows: NDArray[np.int64]
    """Ascending: rows that came into the store with this set, as views and nothing else."""
    attributes: Mapping[str, Any]
    """How the views were made: augmenter, its version, seed; and a digest of what they are."""

    @property
    def n_views(self) -> int:
        """Of each text."""
        return int(self.rows.shape[1])

    def frame(self) -> pd.DataFrame:
        """A line a text and view, by text: row, source_row, view (numbered from 0)."""
        return pd.DataFrame(
            {
                "row": self.rows.ravel(),
                "source_row": np.repeat(self.source_rows, self.n_views),
                "view": np.tile(np.arange(self.n_views, dtype=np.int32), len(self.source_rows)),
            }
        )


def add_views(
    storage: Storage,
    table: TextTable,
    name: str,
    source_rows: NDArray[np.int64],
    texts: Sequence[Sequence[str]],
    attributes: Mapping[str, Json],
) -> ViewSet:
    """See `Store.add_views`."""
    flat = _checked(table, source_rows, texts)
    content = source_rows.tobytes() + hash_texts(flat).tobytes()
    asked: dict[str, Json] = {
        **attributes,
        "n_texts": len(texts),
        "n_views": len(texts[0]),
        "content": digest(content),
    }
    with alone(storage, ADDING_TEXTS):
        stored = _stored_or_added(storage, table, name, source_rows, flat, asked)
    _require_same(storage, name, stored.attributes, asked)
    return stored


def _stored_or_added(
    storage: Storage,
    table: TextTable,
    name: str,
    source_rows: NDArray[np.int64],
    flat: Sequence[str],
    asked: Mapping[str, Json],
) -> ViewSet:
    if name not in view_sets(storage):
        first_new = _begin(storage, table, name, asked)
        rows = table.add(flat).reshape(len(source_rows), -1)
        added = ViewSet(name, source_rows, rows, np.unique(rows[rows >= first_new]), asked)
        storage.create(_key(name, _TABLE), sealed_table(_key(name, _TABLE), _to_table(added)))
    storage.delete(_key(name, _BEGUN))  # also that of a run that was killed right before
    return view_set(storage, name)


def view_sets(storage: Storage) -> list[str]:
    """The names of a store's view sets."""
    names = [n.removesuffix(_TABLE) for n in storage.names(_FOLDER) if n.endswith(_TABLE)]
    return sorted(map(unquote, names))


def view_set(storage: Storage, name: str) -> ViewSet:
    """A view set. Raises UnknownNameError, CorruptShardError for one that is damaged."""
    add = f"Add views: actstore views {storage.url} --name {shlex.quote(name)}"
    look_up("view set in this store", name, view_sets(storage), add)
    key = _key(name, _TABLE)
    table = read_sealed_table(storage, key, _COLUMNS)
    rows, sources, views, new = (table[one].to_numpy() for one in _COLUMNS)
    n_views = int(views.max(initial=-1)) + 1
    if not n_views > 0 or len(rows) % n_views or rows.min() < 0 or sources.min() < 0:
        raise damaged(storage, key, "it has not the same number of views of each text")
    attributes = parse_json(storage, key, (table.schema.metadata or {}).get(_ATTRIBUTES, b""))
    return ViewSet(
        name, sources[::n_views], rows.reshape(-1, n_views), np.unique(rows[new]), attributes
    )


def damage(storage: Storage, *, quick: bool) -> Iterator[Damage]:
    """What is wrong with the view sets; the same views, added again, are the same rows."""
    for name in view_sets(storage):
        yield from seal_damage(storage, _key(name, _TABLE), quick=quick, remade=True)
    for file in storage.names(_FOLDER):
        if file.endswith(_BEGUN):
            yield from seal_damage(storage, join(_FOLDER, file), quick=quick, remade=False)


def rows_new_with_views(storage: Storage) -> NDArray[np.int64]:
    """Ascending: rows that came into the store as views."""
    found = [view_set(storage, name).new_rows for name in view_sets(storage)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _checked(
    table: TextTable, source_rows: NDArray[np.int64], texts: Sequence[Sequence[str]]
) -> list[str]:
    """All views, text by text."""
    table.require(source_rows)
    counts = {len(views) for views in texts}
    if len(source_rows) != len(texts) or not len(texts) or len(counts) != 1 or 0 in counts:
        raise InvalidInputError(
            "A view set needs the same number of views of every text, one or more. Given are "
            f"{len(source_rows)} texts, and {len(texts)} lists, of "
            f"{' or '.join(map(str, sorted(counts))) or 'no'} views."
        )
    if len(np.unique(source_rows)) != len(source_rows):
        raise InvalidInputError("A view set holds each text once; some rows were given twice.")
    return [view for views in texts for view in views]


def _begin(storage: Storage, table: TextTable, name: str, asked: Mapping[str, Json]) -> int:
    """The first row that texts added from now on can have.

    Written down before they are added: a run that is killed in between leaves texts behind that
    the next one must still know to be new.
    """
    if not storage.exists(join(_FOLDER, DOCUMENT)):
        write_group(storage, _FOLDER, {})
    begun: dict[str, Json] = {"first_new_row": table.end(), "asked": dict(asked)}
    with contextlib.suppress(FileExistsError):  # of a run that was killed
        storage.create(_key(name, _BEGUN), sealed_json(_key(name, _BEGUN), begun))
    fields = {"first_new_row": whole_from(0), "asked": is_table}
    stored = read_sealed_json(storage, _key(name, _BEGUN), fields)
    _require_same(storage, name, stored["asked"], asked)
    return int(stored["first_new_row"])


def _require_same(
    storage: Storage, name: str, stored: Mapping[str, Json], asked: Mapping[str, Json]
) -> None:
    remedy = "Use the stored values, or give these views another name (--name)."
    require_same(f"The view set {name!r} of {storage.url}", stored, asked, remedy)


def _to_table(views: ViewSet) -> pa.Table:
    frame = views.frame()
    frame["new"] = np.isin(frame["row"], views.new_rows)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    attributes = json.dumps(dict(views.attributes), sort_keys=True).encode()
    return table.replace_schema_metadata({_ATTRIBUTES: attributes})


def _key(name: str, ending: str) -> str:
    """Where a view set is: names may hold slashes, keys not."""
    return join(_FOLDER, quote(name, safe=" ") + ending)
