"""The text table: every distinct text once, in append-only Parquet parts."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actstore.errors import CorruptShardError, InvalidTextError, UnknownTextError
from actstore.store.damage import Damage
from actstore.store.shards import MAX_ROWS_PER_SHARD
from actstore.store.storage import Storage, join

_FOLDER = "texts"
_ROW_GROUP = 1 << 16
"""Texts that are decoded together."""
_FOOTER = 8
"""Bytes behind a Parquet file's metadata: their length, and the magic number."""
_HASH = np.dtype([("high", "<u8"), ("low", "<u8")])


def hash_texts(texts: Sequence[str]) -> NDArray[np.void]:
    """128-bit BLAKE2b of each text's UTF-8, as a structured array (n,) of uint64 high and low.

    Raises InvalidTextError for an empty text, and for one that is no valid Unicode (a lone
    surrogate), which no tokenizer takes.
    """
    digests = bytearray()
    for index, text in enumerate(texts):
        if not text:
            raise InvalidTextError(
                f"Text {index} of {len(texts)} is empty: it has no token to pool. Remove it."
            )
        digests += hashlib.blake2b(_utf8(text, index), digest_size=16).digest()
    return np.frombuffer(bytes(digests), ">u8").astype("<u8").view(_HASH)


def _utf8(text: str, index: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"Text {index} is no valid Unicode at character {error.start}: {text[:40]!r}. "
            "Re-encode it, for instance with text.encode('utf-8', 'replace').decode()."
        ) from error


@dataclass(frozen=True)
class _Index:
    """Rows and hashes of all texts, as of some parts."""

    parts: tuple[str, ...] = ()
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    hashes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, _HASH))

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Sorts the hashes; only looking up texts needs it."""
        return np.argsort(self.hashes, order=("high", "low"), kind="stable")


class TextTable:
    """The texts of a store, read as far as needed and appended to. Threads may share one."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._last = _Index()

    def rows(self) -> NDArray[np.int64]:
        """All rows that hold a text, ascending. Between two parts there may be a gap."""
        return self._index().rows

    def end(self) -> int:
        """The row behind the last text: the length of every pooled array's text dimension."""
        rows = self.rows()
        return int(rows[-1]) + 1 if len(rows) else 0

    def spans(self) -> list[tuple[int, int]]:
        """The rows of each part: the first, and the one behind the last. Reads no texts."""
        return [self._span(name) for name in self._part_names()]

    def hashes_of(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.void]:
        """The hashes of some rows, which must exist."""
        index = self._index()
        return index.hashes[np.searchsorted(index.rows, rows)]

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, or -1."""
        return self._find(texts, self._index())

    def _find(self, texts: Sequence[str], index: _Index) -> NDArray[np.int64]:
        wanted = hash_texts(texts)
        if not len(index.rows):
            return np.full(len(wanted), -1, np.int64)
        place = np.searchsorted(index.hashes, wanted, sorter=index.order)
        nearest = index.order[np.minimum(place, len(index.order) - 1)]
        return np.where(index.hashes[nearest] == wanted, index.rows[nearest], -1)

    def rows_of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text. Raises UnknownTextError."""
        rows = self.find(texts)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise UnknownTextError(
                f"{len(missing)} of {len(texts)} texts are not in {self.storage.url}, the first: "
                f"{texts[int(missing[0])][:60]!r}. Add them: actstore collect "
                f"{self.storage.url} --suite SUITE (or --texts FILE), then actstore extract."
            )
        return rows

    def add(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, after appending the ones that are new as one part."""
        while True:
            index = self._index()
            rows = self._find(texts, index)
            new = np.flatnonzero(rows < 0)
            if not len(new):
                return rows
            fresh = list(dict.fromkeys(texts[int(i)] for i in new))
            # Another process may have taken the part's name meanwhile: look again.
            self._append(fresh, index)

    def require(self, rows: NDArray[np.integer[Any]]) -> None:
        """Raise UnknownTextError unless all rows hold a text."""
        without = np.setdiff1d(rows, self.rows())
        if len(without):
            raise UnknownTextError(
                f"{self.storage.url} has no text at {len(without)} of {len(rows)} rows, the first: "
                f"{without[0]}. It has {len(self.rows())} texts, the last at row {self.end() - 1}."
            )

    def read(
        self, rows: Sequence[int] | NDArray[np.integer[Any]], *, verify: bool = False
    ) -> list[str]:
        """The texts of some rows, in their order. Raises UnknownTextError for a row without.

        verify: compare them with their hashes, and raise CorruptShardError for a text that was
        altered.
        """
        wanted, inverse = np.unique(np.asarray(rows, np.int64), return_inverse=True)
        self.require(wanted)
        texts = [text for name in self._index().parts for text in self._read_part(name, wanted)]
        if verify:
            self._verify(wanted, texts)
        return [texts[place] for place in inverse]

    def _verify(self, rows: NDArray[np.int64], texts: Sequence[str]) -> None:
        altered = np.flatnonzero(hash_texts(texts) != self.hashes_of(rows))
        if len(altered):
            raise CorruptShardError(
                f"{len(altered)} of {len(rows)} texts of {self.storage.url} are not those that "
                f"were collected, the first at row {rows[altered[0]]}: "
                f"{texts[int(altered[0])][:60]!r}. The states are of other texts: restore "
                f"{_FOLDER}/ from a copy."
            )

    def _read_part(self, name: str, wanted: NDArray[np.int64]) -> list[str]:
        """The wanted texts, ascending by row, that stand in one part; decodes no others' groups."""
        file = pq.ParquetFile(io.BytesIO(self.storage.read(join(_FOLDER, name))))
        texts: list[str] = []
        for index in range(file.num_row_groups):
            limits = file.metadata.row_group(index).column(0).statistics
            low, high = np.searchsorted(wanted, [limits.min, limits.max + 1])
            if low < high:
                group = file.read_row_group(index, columns=["text"])["text"]
                texts += group.take(wanted[low:high] - limits.min).to_pylist()
        return texts

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """The whole table, or some of its columns."""
        return self._frame(self._part_names(), columns)

    def _frame(self, parts: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        tables = [
            pq.read_table(io.BytesIO(self.storage.read(join(_FOLDER, name))), columns=list(columns))
            for name in parts
        ]
        if not tables:
            return pd.DataFrame({name: [] for name in columns})
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    def damage(self, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the parts of the table. quick: that they are there, in their size."""
        for name in self._part_names():
            key = join(_FOLDER, name)
            try:
                self._span(name)
                if not quick:
                    frame = self._frame([name], ["row", "text"])
                    self._verify(frame["row"].to_numpy(), frame["text"].tolist())
            except (CorruptShardError, OSError, pa.ArrowException) as error:
                yield Damage(key, str(error), remade=False)

    def _append(self, texts: list[str], index: _Index) -> None:
        """Write a part of texts that the index lacks, unless there is a part behind it by now."""
        end = int(index.rows[-1]) + 1 if len(index.rows) else 0
        start = -(-end // MAX_ROWS_PER_SHARD) * MAX_ROWS_PER_SHARD
        hashes = hash_texts(texts)
        table = pa.table(
            {
                "row": np.arange(start, start + len(texts), dtype=np.int64),
                "text": pa.array(texts, pa.string()),
                "hash_high": hashes["high"],
                "hash_low": hashes["low"],
                "n_bytes": np.array([len(t.encode()) for t in texts], np.int32),
            }
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=_ROW_GROUP)
        with contextlib.suppress(FileExistsError):
            name = f"part-{len(index.parts):05d}.parquet"
            self.storage.create(join(_FOLDER, name), buffer.getbuffer())

    def _span(self, name: str) -> tuple[int, int]:
        """Of one part, from its footer alone: a part's rows follow one another."""
        with self.storage.open(join(_FOLDER, name)) as reader:
            size = bytearray(_FOOTER)
            reader.read_into(reader.size - len(size), memoryview(size))
            footer = bytearray(int.from_bytes(size[:4], "little") + _FOOTER)
            reader.read_into(reader.size - len(footer), memoryview(footer))
        found = pq.read_metadata(io.BytesIO(b"PAR1" + footer))
        first = found.row_group(0).column(0).statistics.min
        return first, first + found.num_rows

    def _part_names(self) -> list[str]:
        return [n for n in self.storage.names(_FOLDER) if n.endswith(".parquet")]

    def _index(self) -> _Index:
        """The index of the parts there are now. Replaced whole: threads see the old or the new."""
        parts, index = tuple(self._part_names()), self._last
        if parts != index.parts:
            frame = self._frame(parts, ["row", "hash_high", "hash_low"])
            hashes = np.empty(len(frame), _HASH)
            hashes["high"], hashes["low"] = frame["hash_high"], frame["hash_low"]
            index = self._last = _Index(parts, frame["row"].to_numpy(np.int64), hashes)
        return index
