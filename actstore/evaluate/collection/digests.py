"""Digests of tables: what is in them, not how they lie in memory."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pyarrow as pa

_ROWS_AT_ONCE = 1 << 16


def table_digest(table: pa.Table) -> bytes:
    """Of the rows in pieces of one size, however the table is cut; no copy of it is made."""
    sink = _Hashing()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), table.schema) as writer:
        for start in range(0, len(table), _ROWS_AT_ONCE):
            writer.write_table(table.slice(start, _ROWS_AT_ONCE).combine_chunks())
    return sink.digest.digest()


class _Hashing(io.RawIOBase):
    """A file of which only the digest is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)
