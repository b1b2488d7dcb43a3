"""Candidates and judgements of queries as codes, each distinct list kept once.

MindSmallReranking has 97 million candidates, which are 73 thousand lists of 5 thousand documents:
20 GB of Python strings, or 12 MB of codes. What is here reads like the dictionaries that mteb works
with.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actstore.errors import InvalidInputError

Value = TypeVar("Value")
IntType = TypeVar("IntType", np.int32, np.int64)
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PackedLists(Mapping[str, Value]):
    """Query -> a list of documents; what a value is, the kinds below say. In order of `queries`."""

    queries: pa.Array
    """Strings, each once."""
    which: NDArray[np.int32]
    """(query,) its list."""
    offsets: Ints
    """(list + 1,) where each list begins in `codes`."""
    codes: NDArray[np.int32]
    """Places in `documents`."""
    documents: pa.Array
    """Strings, each once."""
    grades: Ints | None = None
    """As long as `codes`, where lists are graded."""

    @classmethod
    def pack(cls, plain: Mapping[str, Any]) -> Self:
        """The same mapping, packed. Raises InvalidInputError for a grade that is no integer."""
        if isinstance(plain, cls):
            return plain
        queries, sizes = pa.array(list(plain), pa.string()), [*map(len, plain.values())]
        names = [document for value in plain.values() for document in value]
        documents = pa.chunked_array([pa.array(names, pa.string())])
        return cls.of_items(queries, np.array(sizes, np.int64), documents, cls._grades(plain))

    @classmethod
    def of_items(
        cls, queries: pa.Array, sizes: Ints, documents: pa.ChunkedArray, grades: Ints | None = None
    ) -> Self:
        """Of the items of all lists, one list after the other.

        queries: each once. sizes: (query,). documents, grades: (item,).
        """
        names, codes = encoded(documents)
        items = codes[:, None] if grades is None else np.stack([codes, grades], axis=1)
        raw, width = items.tobytes(), items.itemsize * items.shape[1]
        cuts = (_offsets(sizes) * width).tolist()
        found: dict[bytes, int] = {}
        which = [found.setdefault(raw[a:b], len(found)) for a, b in itertools.pairwise(cuts)]
        kept = np.frombuffer(b"".join(found), items.dtype).reshape(-1, items.shape[1])
        return cls(
            queries=queries,
            which=np.array(which, np.int32),
            offsets=_offsets(np.array([len(one) // width for one in found], np.int64)),
            codes=kept[:, 0].astype(np.int32),
            documents=names,
            grades=None if grades is None else kept[:, 1].astype(np.int64),
        )

    @classmethod
    def from_tables(cls, tables: Mapping[str, pa.Table]) -> Self:
        """What `tables` gave."""
        queries, lists = tables["queries"], tables["lists"]
        codes = _array(lists["codes"])
        graded = "grades" in lists.column_names
        return cls(
            queries=_array(queries["query-id"]),
            which=_numpy(_array(queries["list"])),
            offsets=_offsets(_numpy(pc.list_value_length(codes))),
            codes=_numpy(codes.flatten()),
            documents=_array(tables["documents"]["id"]),
            grades=_numpy(_array(lists["grades"]).flatten()) if graded else None,
        )

    def tables(self) -> dict[str, pa.Table]:
        """Tables `queries`, `lists` and `documents`, from which it can be made again."""
        columns = {"codes": pa.LargeListArray.from_arrays(self.offsets, self.codes)}
        if self.grades is not None:
            columns["grades"] = pa.LargeListArray.from_arrays(self.offsets, self.grades)
        return {
            "queries": pa.table({"query-id": self.queries, "list": self.which}),
            "lists": pa.table(columns),
            "documents": pa.table({"id": self.documents}),
        }

    def plain(self) -> dict[str, Value]:
        """An ordinary dictionary; queries with equal lists share one object."""
        values = [self._value(one) for one in range(len(self.offsets) - 1)]
        return dict(zip(self, (values[one] for one in self.which.tolist()), strict=True))

    def sorted(self) -> Self:
        """The same by query, with lists and documents in order of first use: one of all orders."""
        order = _numpy(pc.sort_indices(self.queries)).astype(np.int64)
        lists, which = first_use(self.which[order])
        taken, offsets = ranges(self.offsets, lists)
        documents, codes = first_use(self.codes[taken])
        return type(self)(
            queries=self.queries.take(pa.array(order)),
            which=which,
            offsets=offsets,
            codes=codes,
            documents=self.documents.take(pa.array(documents)),
            grades=None if self.grades is None else self.grades[taken],
        )

    def __getitem__(self, query: str) -> Value:
        return self._value(int(self.which[self._places[query]]))

    def __contains__(self, query: object) -> bool:
        return query in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self.queries.to_pylist())

    def __len__(self) -> int:
        return len(self.queries)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {query: place for place, query in enumerate(self.queries.to_pylist())}

    @functools.cached_property
    def _names(self) -> NDArray[np.object_]:
        return np.array(self.documents.to_pylist(), dtype=object)

    def _documents_of(self, one: int) -> list[str]:
        codes = self.codes[self.offsets[one] : self.offsets[one + 1]]
        names: list[str] = self._names[codes].tolist()
        return names

    def _value(self, one: int) -> Value:
        raise NotImplementedError

    @staticmethod
    def _grades(plain: Mapping[str, Any]) -> Ints | None:
        return None


class Candidates(PackedLists[list[str]]):
    """Query -> the documents to rank, in order."""

    def _value(self, one: int) -> list[str]:
        return self._documents_of(one)


class Judgements(PackedLists[dict[str, int]]):
    """Query -> judged document -> its grade, in order."""

    def _value(self, one: int) -> dict[str, int]:
        assert self.grades is not None
        grades = self.grades[self.offsets[one] : self.offsets[one + 1]]
        return dict(zip(self._documents_of(one), grades.tolist(), strict=True))

    @staticmethod
    def _grades(plain: Mapping[str, Any]) -> Ints | None:
        return _integers([grade for value in plain.values() for grade in value.values()])


def ranges(offsets: Ints, picks: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Places of all items of some lists, one list after the other, and where each begins."""
    sizes = np.diff(offsets)[picks]
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    shift = np.repeat(offsets[:-1][picks] - begins[:-1], sizes)
    return np.arange(begins[-1]) + shift, begins


def first_use(codes: NDArray[IntType]) -> tuple[NDArray[IntType], NDArray[np.int32]]:
    """The different codes in order of first use, and for every item its place among them."""
    encoded = pc.dictionary_encode(pa.array(codes))
    return _numpy(encoded.dictionary), _numpy(encoded.indices)


def encoded(names: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The different names in order of first use, null last, and for every name its place there."""
    # Chunk by chunk: all at once, every chunk would hold all names that came before it.
    parts = [chunk.dictionary_encode() for chunk in names.chunks] or [_nothing(names.type)]
    unified = pa.chunked_array(parts).unify_dictionaries().chunks
    different = unified[-1].dictionary
    codes = [pc.fill_null(part.indices, len(different)).to_numpy() for part in unified]
    null = pa.nulls(1 if names.null_count else 0, names.type)
    return pa.concat_arrays([different, null]), np.concatenate(codes)


def _nothing(kind: pa.DataType) -> pa.Array:
    return pa.array([], kind).dictionary_encode()


def _integers(values: Sequence[Any]) -> Ints:
    wrong = [value for value in values if not isinstance(value, (int, np.integer))]
    if wrong:
        raise InvalidInputError(
            f"A document is judged {wrong[0]!r}; judgements must be integers. Give the task whole "
            "grades in its dataset_transform."
        )
    return np.array(values, np.int64)


def _offsets(sizes: Ints) -> Ints:
    return np.append(0, np.cumsum(sizes)).astype(np.int64)


def _array(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    chunks = column.chunks or [pa.array([], column.type)]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _numpy(array: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values
