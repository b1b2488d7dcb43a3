"""Parquet that anybody may have written: bounded while it is read, its columns checked.

A few bytes of Parquet can stand for any number of rows, and a dictionary of one long text for any
number of copies of it. So text stays encoded while it is read, batch by batch, and what it will
take is counted before room is made for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from actstore.store.records.documents import damaged
from actstore.store.storage import Storage

Columns = Mapping[str, Callable[[pa.DataType], bool]]
"""The columns that a table must have, and whether a type is theirs."""

NO_COLUMNS: Columns = {}
MOST_ROWS = 1 << 30
_ROWS_AT_ONCE = 1 << 16
_ROOM = 1 << 30
_GROWTH = 256
"""A table takes at most `_ROOM` bytes, and so many for each of its file; texts take 2 to 10."""
_WORDS = 16 << 20
"""Bytes of one name, or one entry, in a file's footer."""
_LIMITS = {"thrift_string_size_limit": _WORDS, "thrift_container_size_limit": _WORDS}
_MOST_COLUMNS = 4096

is_whole = pt.is_integer
is_text: Callable[[pa.DataType], bool] = lambda one: pt.is_string(one) or pt.is_large_string(one)  # noqa: E731
is_flag = pt.is_boolean


def is_rows(one: pa.DataType) -> bool:
    """Lists of whole numbers."""
    return bool((pt.is_list(one) or pt.is_large_list(one)) and pt.is_integer(one.value_type))


def parse_table(
    storage: Storage,
    key: str,
    data: bytes,
    columns: Sequence[str] | None = None,
    required: Columns = NO_COLUMNS,
) -> pa.Table:
    """A table of a Parquet file, with its metadata. columns: only these; None: all.

    required: without nulls. Raises CorruptShardError for what is no Parquet, lacks a column, or
    takes more memory than any table of such a size.
    """
    try:
        table = TableFile(io.BytesIO(data), len(data)).read(columns)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(storage, key, error) from error
    for name, is_right in required.items():
        if name not in table.column_names:
            raise damaged(storage, key, f"it has no column {name!r}")
        if not is_right(table[name].type) or table[name].null_count:
            raise damaged(storage, key, f"its column {name!r} is {table[name].type}, or has gaps")
    return table


class TableFile:
    """A Parquet file that is open. Its methods raise ValueError, TypeError or pyarrow's errors for
    what is none, or takes more memory than any table of its size."""

    def __init__(self, source: Any, n_bytes: int) -> None:
        """source: a file. n_bytes: of it."""
        self._most = _ROOM + _GROWTH * n_bytes
        self._n_bytes = n_bytes
        plain = pq.ParquetFile(source, **_LIMITS)
        self.metadata, self._schema = plain.metadata, plain.schema_arrow
        leaves = [self.metadata.schema.column(i) for i in range(self.metadata.num_columns)]
        if len(leaves) > _MOST_COLUMNS or not 0 <= self.metadata.num_rows <= MOST_ROWS:
            raise ValueError(
                f"it claims {self.metadata.num_rows:,} rows of {len(leaves):,} columns"
            )
        for field in self._schema:
            _require_plain(field.type)
        source.seek(0)
        encoded = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        self._file = pq.ParquetFile(source, read_dictionary=encoded, **_LIMITS)

    def read(
        self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
    ) -> pa.Table:
        """Some columns, or all, of some row groups, or all."""
        names = self._schema.names if columns is None else list(columns)
        if missing := {*names} - {*self._schema.names}:
            raise ValueError(f"it has no column {sorted(missing)[0]!r}")
        schema = pa.schema([self._schema.field(name) for name in names])
        batches, total = [], 0
        for batch in self._file.iter_batches(_ROWS_AT_ONCE, groups, names, use_threads=False):
            total += sum(_size(column) for column in batch.columns)
            if total > self._most:
                raise ValueError(f"{self._n_bytes:,} bytes stand for more than {self._most:,}")
            plain = [batch.column(field.name).cast(field.type) for field in schema]
            batches.append(pa.record_batch(plain, schema=schema))
        table = pa.Table.from_batches(batches, schema)
        return table.replace_schema_metadata(self._schema.metadata)


def _size(array: pa.Array) -> int:
    """Bytes that an array takes once nothing of it is encoded; pyarrow's error for text that is
    no UTF-8."""
    if pt.is_dictionary(array.type):
        if is_text(array.type.value_type):
            array.dictionary.cast(pa.large_binary()).cast(pa.large_string())
        lengths = pc.binary_length(array.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0) + 8 * len(array)
    if pt.is_list(array.type) or pt.is_large_list(array.type):
        return 8 * len(array) + _size(array.flatten())
    if pt.is_struct(array.type):
        return sum(_size(one) for one in array.flatten())
    return int(array.nbytes)


def _require_plain(one: pa.DataType) -> None:
    """Raise TypeError for a type that runs or unpickles something as it is read."""
    if isinstance(one, pa.BaseExtensionType) or pt.is_map(one) or pt.is_union(one):
        raise TypeError(f"a column of {one} is not read here")
    if pt.is_nested(one):
        for place in range(one.num_fields):
            _require_plain(one.field(place).type)
