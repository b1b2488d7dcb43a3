"""Data sets in memory whose columns are plain lists.

`datasets` gives a column as a lazy sequence that decodes a row whenever one is looked at, and
every scikit-learn function looks at all of them. A `Table` decodes a column once, and keeps what
was worked out from its data: the same for every layer of every checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from datasets import Dataset, DatasetDict
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

T = TypeVar("T")


class Table(Dataset):
    """A data set whose `table["column"]` is a list, the same one at every call.

    `select` and `select_columns` give tables again; everything else is as in `datasets`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lists: dict[str, list[Any]] = {}
        self._known: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, data: Dataset) -> Table:
        """The same rows and features; no copy of the data but where rows were picked lazily."""
        flat = data.flatten_indices() if data._indices is not None else data
        return cls(flat._data, info=flat.info, split=flat.split, fingerprint=flat._fingerprint)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str) or self._format_type is not None:
            return super().__getitem__(key)
        if key not in self._lists:
            self._lists[key] = super().__getitem__(key)[:]
        return self._lists[key]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, called for the first use of `key` only."""
        if key not in self._known:
            self._known[key] = make()
        value: T = self._known[key]
        return value

    def select(self, indices: Any, *args: Any, **kwargs: Any) -> Dataset:
        """The rows at `indices`. Unlike in `datasets`, the indices are not hashed."""
        rows = np.asarray(list(indices) if isinstance(indices, Iterator) else indices, np.int64)
        if args or kwargs or self._format_type is not None or (rows < 0).any():
            return super().select(rows, *args, **kwargs)
        table = InMemoryTable(self._data.table.take(rows))
        info, split = self.info, self.split
        return Table(table, info=info, split=split, fingerprint=generate_random_fingerprint())

    def select_columns(self, column_names: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """A table of these columns; the same one at every call."""
        if args or kwargs:
            return super().select_columns(column_names, *args, **kwargs)
        names = (column_names,) if isinstance(column_names, str) else tuple(column_names)
        some = super().select_columns
        return self.once(("columns", names), lambda: Table.of(some(list(names))))

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        """Another table of the same data, as the methods of `datasets` begin with one."""
        other = copy.copy(self)
        other._info = copy.deepcopy(self._info, memo)
        other._lists, other._known = {}, {}
        return other


def as_table(data: Any) -> Any:
    """A data set as a table; anything else, and data sets with a format, as it is."""
    plain = isinstance(data, Dataset) and data._format_type is None
    return Table.of(data) if plain and not isinstance(data, Table) else data


def map_leaves(data: Any, change: Callable[[Any], Any]) -> Any:
    """Nested dicts of data with every leaf changed; dicts of data sets stay such."""
    if not isinstance(data, Mapping):
        return change(data)
    items = {key: map_leaves(value, change) for key, value in data.items()}
    return DatasetDict(items) if isinstance(data, DatasetDict) else items
