"""The text table: every distinct text once, in append-only Parquet parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from actstore.errors import InvalidTextError, UnknownTextError
from actstore.store.records.damage import Damage
from actstore.store.shards import MAX_ROWS_PER_SHARD
from actstore.store.storage import Storage
from actstore.store.texts.parts import TextPart, TextParts

_ROW_GROUP = 1 << 16
"""Texts that are decoded together."""
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

    parts: tuple[TextPart, ...] = ()
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    hashes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, _HASH))

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Sorts the hashes; only looking up texts needs it."""
        return np.argsort(self.hashes, order=("high", "low"), kind="stable")


class TextTable:
    """The texts of a store, read as far as needed and appended to. Threads may share one.

    What is read is checked: parts against the digests they were recorded with, texts against their
    hashes. All methods raise CorruptShardError for what is not what was written.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._parts = TextParts(storage)
        self._last = _Index()

    def rows(self) -> NDArray[np.int64]:
        """All rows that hold a text, ascending. Between two parts there may be a gap."""
        return _rows_of(self._parts.all())

    def end(self) -> int:
        """The row behind the last text: the length of every pooled array's text dimension."""
        return max((part.stop for part in self._parts.all()), default=0)

    def spans(self) -> list[tuple[int, int]]:
        """The rows of each part: the first, and the one behind the last. Reads no texts."""
        return [(part.start, part.stop) for part in self._parts.all()]

    def n_bytes(self) -> int:
        """UTF-8 bytes of all texts. Reads none."""
        return sum(part.text_bytes for part in self._parts.all())

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
            self._parts.record_missing()
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

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """The texts of some rows, in their order. Raises UnknownTextError for a row without."""
        wanted, inverse = np.unique(np.asarray(rows, np.int64), return_inverse=True)
        self.require(wanted)
        texts: list[str] = []
        for part in self._parts.all():
            low, high = np.searchsorted(wanted, [part.start, part.stop])
            if low < high:
                texts += self._read_part(part, wanted[low:high])
        return [texts[place] for place in inverse]

    def _read_part(self, part: TextPart, rows: NDArray[np.int64]) -> list[str]:
        texts = self._parts.texts(part, rows)
        if not all(texts) or len(texts) != len(rows):
            raise self._parts.damaged(part.key, "texts are missing in it")
        altered = np.flatnonzero(hash_texts(texts) != self.hashes_of(rows))
        if len(altered):
            raise self._parts.damaged(
                part.key,
                f"{len(altered)} of {len(rows)} texts are not those that were collected, the "
                f"first at row {rows[altered[0]]}: {texts[int(altered[0])][:60]!r}",
            )
        return texts

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """The whole table, or some of its columns."""
        return self._frame(self._parts.all(), columns)

    def _frame(self, parts: Sequence[TextPart], columns: Sequence[str]) -> pd.DataFrame:
        tables = [self._parts.table(part, columns) for part in parts]
        if not tables:
            return pd.DataFrame({name: [] for name in columns})
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    def damage(self, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the parts of the table. quick: that they are there, in their size."""
        return self._parts.damage(quick=quick)

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
        self._parts.add(len(index.parts), table, _ROW_GROUP)

    def _index(self) -> _Index:
        """The index of the parts there are now. Replaced whole: threads see the old or the new."""
        parts, index = self._parts.all(), self._last
        if parts != index.parts:
            frame = self._frame(parts, ["hash_high", "hash_low"])
            hashes = np.empty(len(frame), _HASH)
            hashes["high"], hashes["low"] = frame["hash_high"], frame["hash_low"]
            index = self._last = _Index(parts, _rows_of(parts), hashes)
        return index


def _rows_of(parts: Sequence[TextPart]) -> NDArray[np.int64]:
    spans = [np.arange(part.start, part.stop) for part in parts]
    return np.concatenate([np.empty(0, np.int64), *spans])
