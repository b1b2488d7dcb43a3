"""The Parquet parts of the text table, and the records of what was written of each.

A part is created whole, then recorded: its size, digest, rows and bytes of text. So rows are known
without looking into any part, and a part that was altered, removed, or put there later is found.
One whose writer died before its record is told by its seal, until the next writer records it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from actstore.errors import CorruptShardError, StorageError
from actstore.store.records import journal
from actstore.store.records.damage import Damage
from actstore.store.records.documents import Fields, is_file_name, is_text, whole_from, wrong_field
from actstore.store.records.ledger import digest
from actstore.store.records.parquet import TableFile, is_whole, parse_table
from actstore.store.records.parquet import is_text as holds_text
from actstore.store.records.sealing import read_sealed, seal_damage, sealed_table
from actstore.store.shards import MAX_ROWS_PER_SHARD
from actstore.store.storage import Reader, Storage, join

FOLDER = "texts"
_LEDGER = join(FOLDER, "ledger")
_PART = "part-{:05d}.parquet"
_NAME = re.compile(r"part-([0-9]{5,9})\.parquet")
_MOST_ROWS = 1 << 31
_GAP = MAX_ROWS_PER_SHARD
"""Rows between two parts, at most: a part begins with a shard."""
_LEAST_BYTES = 16
"""Of a text in its part: its hash has so many, and they are random."""
_COLUMNS = {
    "row": is_whole,
    "text": holds_text,
    "hash_high": is_whole,
    "hash_low": is_whole,
    "n_bytes": is_whole,
}
_FIELDS: Fields = {
    "part": is_file_name,
    "start": whole_from(0, _MOST_ROWS),
    "stop": whole_from(1, _MOST_ROWS),
    "n_bytes": whole_from(1),
    "digest": is_text,
    "text_bytes": whole_from(0),
}


@dataclass(frozen=True)
class TextPart:
    """What was written of one part."""

    part: str
    """Its name."""
    start: int
    """Its first row."""
    stop: int
    """The one behind its last: a part's rows follow one another."""
    n_bytes: int
    """Of its file."""
    digest: str
    """Of its file."""
    text_bytes: int
    """UTF-8 bytes of its texts."""

    @property
    def key(self) -> str:
        return join(FOLDER, self.part)


class TextParts:
    """The parts of a store's text table, as of the last look. Threads may share one."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._last: tuple[list[str], tuple[TextPart, ...]] = ([], ())

    def all(self) -> tuple[TextPart, ...]:
        """The parts there are now, in their order.

        Raises CorruptShardError for a part that is missing, and for one without a record that is
        not what was written.
        """
        names, parts = self._last
        if self._names() != names:
            recorded = self._recorded()
            names = self._names()  # again: a part stands before its record does
            self._require(names, recorded)
            parts = tuple(recorded.get(name) or self._looked_at(name) for name in names)
            self._require_room(parts)
            self._last = names, parts
        return parts

    def table(self, part: TextPart, columns: Sequence[str]) -> pa.Table:
        """Some columns of a part. Raises CorruptShardError unless it is what was written."""
        data = self.storage.read(part.key)
        if len(data) != part.n_bytes or digest(data) != part.digest:
            raise self.damaged(part.key, "it is not the part that was written")
        required = {name: _COLUMNS[name] for name in columns}
        table = parse_table(self.storage, part.key, data, columns, required)
        if len(table) != part.stop - part.start:
            raise self.damaged(part.key, f"it has {len(table)} texts")
        return table

    def texts(self, part: TextPart, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[str]:
        """The texts of some rows of a part, ascending. They are not checked: see their hashes.

        Reads the row groups that hold them, no others. Raises CorruptShardError for what is no
        Parquet file.
        """
        try:
            with self.storage.open(part.key) as reader:
                file = TableFile(_File(reader), reader.size)
                return _texts_of(file, rows - part.start)
        except FileNotFoundError:
            raise self.damaged(part.key, "it is missing") from None
        except StorageError:
            raise
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            raise self.damaged(part.key, error) from error

    def add(self, number: int, table: pa.Table, rows_together: int) -> None:
        """Write the part of a number, unless there is one by now. table: as in the schema."""
        key = join(FOLDER, _PART.format(number))
        image = sealed_table(key, table, rows_together=rows_together)
        with suppress(FileExistsError):
            self.storage.create(key, image)
            self._record([_part_of(key, image, table)])

    def record_missing(self) -> None:
        """Record the parts whose writers died before they did."""
        recorded = self._recorded()
        self._record([part for part in self.all() if part.part not in recorded])

    def damage(self, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the parts. quick: that they are there, in their size."""
        found = [*journal.damage(self.storage, _LEDGER)]
        yield from found
        recorded = {} if found else self._recorded()
        names = self._names()
        for name in sorted({*names, *recorded, *_between(names)}):
            key = join(FOLDER, name)
            if name in recorded and (what := self._differs(recorded[name], quick=quick)):
                yield Damage(key, what, remade=False)
            elif name not in recorded:
                yield from seal_damage(self.storage, key, quick=quick, remade=False)

    def damaged(self, key: str, what: object) -> CorruptShardError:
        """Nothing makes a text again: only a copy has it."""
        return CorruptShardError(
            f"{key} of {self.storage.url} is damaged: {what}. Which states are of which texts "
            f"stands nowhere else: restore {key} from a copy."
        )

    def _differs(self, part: TextPart, *, quick: bool) -> str:
        """How a part differs from the one that was recorded; empty if it does not."""
        try:
            with self.storage.open(part.key) as reader:
                if reader.size != part.n_bytes:
                    return f"it has {reader.size} bytes, {part.n_bytes} were written"
            altered = not quick and digest(self.storage.read(part.key)) != part.digest
        except FileNotFoundError:
            return "it is missing"
        return "it is not the part that was written" if altered else ""

    def _require(self, names: Sequence[str], recorded: dict[str, TextPart]) -> None:
        """Raise CorruptShardError if a part that there was is missing."""
        for name in sorted({*recorded, *_between(names)} - {*names}):
            raise self.damaged(join(FOLDER, name), "it is missing")

    def _looked_at(self, name: str) -> TextPart:
        """A part without a record."""
        key = join(FOLDER, name)
        try:
            image = read_sealed(self.storage, key)
        except CorruptShardError as error:
            raise self.damaged(key, "its seal is not that of its bytes") from error
        required = {name: _COLUMNS[name] for name in ("row", "n_bytes")}
        table = parse_table(self.storage, key, image, ["row", "n_bytes"], required)
        rows = table["row"].to_numpy()
        first = int(rows[0]) if len(rows) else -1
        if not 0 <= first < _MOST_ROWS or not np.array_equal(rows, first + np.arange(len(rows))):
            raise self.damaged(key, "its rows do not follow one another")
        return _part_of(key, image, table)

    def _recorded(self) -> dict[str, TextPart]:
        """By name. Raises CorruptShardError for a damaged ledger."""
        found = {}
        for record in journal.read_records(self.storage, _LEDGER):
            if what := wrong_field(record, _FIELDS):
                raise self.damaged(_LEDGER, what)
            part = TextPart(**{name: record[name] for name in TextPart.__dataclass_fields__})
            found[part.part] = part
        return found

    def _require_room(self, parts: Sequence[TextPart]) -> None:
        """Raise CorruptShardError unless parts follow one another and can hold so many rows.

        Arrays as long as the rows are made before any part is read.
        """
        end = 0
        for part in parts:
            most = part.n_bytes // _LEAST_BYTES
            if not end <= part.start < part.stop <= part.start + most or part.start - end > _GAP:
                what = f"its record names rows {part.start} to {part.stop}, behind {end}"
                raise self.damaged(part.key, what)
            end = part.stop

    def _record(self, parts: Sequence[TextPart]) -> None:
        journal.append_records(self.storage, _LEDGER, [asdict(part) for part in parts])

    def _names(self) -> list[str]:
        return [name for name in self.storage.names(FOLDER) if _NAME.fullmatch(name)]


class _File(io.RawIOBase):
    """An object as the file that pyarrow reads from."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._size, self._place = reader, reader.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {0: 0, 1: self._place, 2: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(self._size - self._place, 0))
        if wanted:
            self._reader.read_into(self._place, memoryview(buffer)[:wanted])
        self._place += wanted
        return wanted


def _texts_of(file: TableFile, places: np.ndarray[Any, np.dtype[np.int64]]) -> list[str]:
    """The texts in some places of a file, ascending."""
    texts: list[str] = []
    start = 0
    for group in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        low, high = np.searchsorted(places, [start, stop])
        if low < high:
            column = file.read(["text"], [group])["text"]
            if not holds_text(column.type):
                raise TypeError(f"its texts are {column.type}")
            texts += column.take(places[low:high] - start).to_pylist()
        start = stop
    return texts


def _part_of(key: str, image: bytes, table: pa.Table) -> TextPart:
    start = table["row"][0].as_py()
    return TextPart(
        part=key.rpartition("/")[2],
        start=start,
        stop=start + len(table),
        n_bytes=len(image),
        digest=digest(image),
        text_bytes=int(np.sum(table["n_bytes"].to_numpy(), dtype=np.int64)),
    )


def _between(names: Sequence[str]) -> set[str]:
    """The names of all parts up to the last one: they are numbered without a gap."""
    numbers = {int(found[1]) for name in names if (found := _NAME.fullmatch(name))}
    # A stranger's number may be anything: of a gap, the first that is missing says all.
    first = next(number for number in range(len(numbers) + 1) if number not in numbers)
    missing = {first} if numbers and first < max(numbers) else set()
    return {_PART.format(number) for number in numbers | missing}
