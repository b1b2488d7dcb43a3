"""The lengths of texts in tokens, which all checkpoints of a model share.

They lie in chunks of the rows of one pooled shard. Whoever commits a shard writes its chunks first
and says in the commit record what they are, so any checkpoint's record tells them from altered
ones; chunks that no record speaks of are what a killed writer left, and count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.arrays.chunked import (
    chunk_key,
    chunk_size,
    decode_chunk,
    encode_chunk,
)
from actstore.store.arrays.zarr_metadata import (
    chunked_array,
    document_damage,
    read_attributes,
)
from actstore.store.records.damage import Damage
from actstore.store.records.documents import is_text
from actstore.store.records.journal import read_fields
from actstore.store.records.ledger import digest
from actstore.store.schema import N_TOKENS, TRUNCATED
from actstore.store.storage import Storage, each, join

if TYPE_CHECKING:
    from actstore.store.texts.table import TextTable

RECORDED = "lengths"
"""The field of a commit record that says what the chunks of its shard are."""
_ARRAYS = (N_TOKENS, TRUNCATED)
_NUMBER = re.compile(r"c\.([0-9]{1,10})")
_FIELDS = pa.schema([("shard", pa.int64()), ("plan", pa.string()), (RECORDED, pa.string())])


class TextLengths:
    """Reads and writes the lengths of a model's texts."""

    def __init__(self, storage: Storage, prefix: str, rows_per_shard: int) -> None:
        """prefix: the model's group."""
        self.storage, self.prefix, self.rows_per_shard = storage, prefix, rows_per_shard

    def write(self, shard: int, places: NDArray[np.int64], *values: NDArray[Any]) -> str:
        """Write a shard's chunks, unless they are there; what its commit record says of them.

        places: of its texts in the shard. values: of these, `n_tokens` and `truncated`.
        Raises CorruptShardError if others are there.
        """
        chunks = []
        for declared, given in zip(_ARRAYS, values, strict=True):
            chunk = np.zeros(self.rows_per_shard, declared.dtype)
            chunk[places] = given
            chunks.append(encode_chunk(chunk))
            self._create(self._key(declared.name, shard), chunks[-1])
        return digest(b"".join(chunks))

    def present(self) -> set[int]:
        """The shards whose chunks are there."""
        found = [_numbers(self.storage, join(self.prefix, one.name)) for one in _ARRAYS]
        return set.intersection(*found)

    def recorded(self, wanted: set[int]) -> dict[int, str]:
        """What commit records say of the chunks of shards, of those wanted that have a record.

        Reads the ledgers of as many checkpoints as it takes.
        """
        found: dict[int, str] = {}
        for name in self.storage.names(self.prefix):
            if wanted <= found.keys():
                break
            found |= self._recorded_by(join(self.prefix, name))
        return {shard: told for shard, told in found.items() if shard in wanted}

    def read(self, texts: TextTable) -> dict[str, NDArray[Any]]:
        """By name: of all texts, (text,); 0 and False where nothing was extracted yet.

        Raises CorruptShardError for lengths that are not those that were written.
        """
        rows, by_row = texts.rows(), self.by_row(texts)
        if len(rows) == texts.end():  # no gaps
            return by_row
        return {name: values[rows] for name, values in by_row.items()}

    def by_row(self, texts: TextTable) -> dict[str, NDArray[Any]]:
        """The same as `read`, but (row,): with the rows that hold no text."""
        end, size = texts.end(), self.rows_per_shard
        whole = [np.zeros(-(-end // size) * size, one.dtype) for one in _ARRAYS]
        recorded = self.recorded(self._shards(texts))

        def read_one(shard: int) -> None:
            for values, chunk in zip(whole, self._read(shard, recorded[shard]), strict=True):
                values[shard * size : (shard + 1) * size] = chunk

        each(self.storage, read_one, sorted(recorded))
        return {one.name: values[:end] for one, values in zip(_ARRAYS, whole, strict=True)}

    def damage(self, texts: TextTable, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the chunks and their arrays' documents; extraction makes them again.

        quick: that all is there, in its size.
        """
        for one in _ARRAYS:
            expected = chunked_array((0,), one.dtype, self.rows_per_shard, one.dims)
            prefix = join(self.prefix, one.name)
            yield from document_damage(self.storage, prefix, expected, texts.end())
        for shard, told in sorted(self.recorded(self._shards(texts)).items()):
            found = [*self._size_damage(shard)]
            if not found and not quick:
                found = [*self._digest_damage(shard, told)]
            yield from found

    def _shards(self, texts: TextTable) -> set[int]:
        """That hold any text."""
        size = self.rows_per_shard
        return {
            shard
            for start, stop in texts.spans()
            for shard in range(start // size, -(-stop // size))
        }

    def _create(self, key: str, data: bytes) -> None:
        try:
            self.storage.create(key, data)
        except FileExistsError:
            there = self.storage.read(key)
            if there == data:
                return
            if _is_sound(there):
                raise CorruptShardError(
                    f"{key} of {self.storage.url} differs from what is found now for the same "
                    f"texts. Run: actstore verify {self.storage.url} --repair"
                ) from None
            self.storage.replace(key, data)

    def _read(self, shard: int, told: str) -> list[NDArray[Any]]:
        keys = [self._key(one.name, shard) for one in _ARRAYS]
        try:
            chunks = [self.storage.read(key) for key in keys]
        except FileNotFoundError:
            raise self._damaged(f"{keys[0]} or {keys[1]} is missing") from None
        if digest(b"".join(chunks)) != told:
            raise self._damaged(f"{keys[0]} or {keys[1]} is not what was committed")
        sizes = [chunk_size(self.rows_per_shard, one.dtype) for one in _ARRAYS]
        if [len(chunk) for chunk in chunks] != sizes:
            raise self._damaged(f"{keys[0]} or {keys[1]} is of another size")
        try:
            return [decode_chunk(one, of.dtype) for one, of in zip(chunks, _ARRAYS, strict=True)]
        except ValueError as error:
            raise self._damaged(f"{keys[0]} or {keys[1]}: {error}") from error

    def _damaged(self, what: str) -> CorruptShardError:
        url = self.storage.url
        return CorruptShardError(
            f"The lengths of texts in {url} are damaged: {what}. Run: actstore verify {url} "
            "--repair, then the same actstore extract command again."
        )

    def _recorded_by(self, checkpoint: str) -> dict[int, str]:
        """Of one checkpoint's ledger. Raises CorruptShardError for one with damaged lines."""
        try:
            plan = read_attributes(self.storage, checkpoint).get("plan")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        if plan is None:
            return {}
        if not is_text(plan):
            raise self._damaged(f"{checkpoint} names no plan")
        table = read_fields(self.storage, join(checkpoint, "ledger"), _FIELDS, check=True)
        table = table.filter(pc.and_(pc.equal(table["plan"], plan), pc.is_valid(table[RECORDED])))
        pairs = zip(table["shard"].to_pylist(), table[RECORDED].to_pylist(), strict=True)
        return dict(pairs)

    def _size_damage(self, shard: int) -> Iterator[Damage]:
        for one in _ARRAYS:
            key, expected = self._key(one.name, shard), chunk_size(self.rows_per_shard, one.dtype)
            try:
                with self.storage.open(key) as reader:
                    if reader.size != expected:
                        what = f"it has {reader.size} bytes, {expected} were written"
                        yield Damage(key, what, remade=True)
            except FileNotFoundError:
                yield Damage(key, "it is missing", remade=True)

    def _digest_damage(self, shard: int, told: str) -> Iterator[Damage]:
        """Both chunks have one digest: of two that are sound by themselves, both are named."""
        keys = [self._key(one.name, shard) for one in _ARRAYS]
        chunks = [self.storage.read(key) for key in keys]
        if digest(b"".join(chunks)) != told:
            unsound = [key for key, data in zip(keys, chunks, strict=True) if not _is_sound(data)]
            for key in unsound or keys:
                yield Damage(key, "it is not what was committed", remade=True)

    def _key(self, name: str, shard: int) -> str:
        return chunk_key(join(self.prefix, name), shard, 1)


def _numbers(storage: Storage, prefix: str) -> set[int]:
    """Of the chunks of an array."""
    found = map(_NUMBER.fullmatch, storage.names(prefix))
    return {int(one[1]) for one in found if one}


def _is_sound(data: bytes) -> bool:
    try:
        decode_chunk(data, "uint8")
    except ValueError:
        return False
    return True
