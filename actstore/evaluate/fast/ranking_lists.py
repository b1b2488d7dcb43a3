"""Candidates and judgements of queries as codes, each distinct list kept once.

MindSmallReranking has 97 million candidates, which are 73 thousand lists of 5 thousand documents:
20 GB of Python strings, or 12 MB of codes. What is here reads like the dictionaries that mteb works
with.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        found: dict[tuple[Any, ...], int] = {}
        which = [found.setdefault(cls._key(value), len(found)) for value in plain.values()]
        offsets = _offsets([len(key) for key in found])
        return cls._of_items(list(plain), which, offsets, [item for key in found for item in key])

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
    def _key(value: Any) -> tuple[Any, ...]:
        """The items of a value, which tell it from others."""
        raise NotImplementedError

    @classmethod
    def _of_items(
        cls, queries: Sequence[str], which: Sequence[int], offsets: Ints, items: Iterable[Any]
    ) -> Self:
        raise NotImplementedError


class Candidates(PackedLists[list[str]]):
    """Query -> the documents to rank, in order."""

    def _value(self, one: int) -> list[str]:
        return self._documents_of(one)

    @staticmethod
    def _key(value: Any) -> tuple[Any, ...]:
        return tuple(value)

    @classmethod
    def _of_items(
        cls, queries: Sequence[str], which: Sequence[int], offsets: Ints, items: Iterable[Any]
    ) -> Self:
        documents, codes = _coded(items)
        return cls(_strings(queries), np.array(which, np.int32), offsets, codes, documents)


class Judgements(PackedLists[dict[str, int]]):
    """Query -> judged document -> its grade, in order."""

    def _value(self, one: int) -> dict[str, int]:
        assert self.grades is not None
        grades = self.grades[self.offsets[one] : self.offsets[one + 1]]
        return dict(zip(self._documents_of(one), grades.tolist(), strict=True))

    @staticmethod
    def _key(value: Any) -> tuple[Any, ...]:
        return tuple(value.items())

    @classmethod
    def _of_items(
        cls, queries: Sequence[str], which: Sequence[int], offsets: Ints, items: Iterable[Any]
    ) -> Self:
        pairs = list(items)
        documents, codes = _coded(document for document, _ in pairs)
        grades = _integers([grade for _, grade in pairs])
        return cls(_strings(queries), np.array(which, np.int32), offsets, codes, documents, grades)


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


def _coded(names: Iterable[str]) -> tuple[pa.Array, NDArray[np.int32]]:
    found: dict[str, int] = {}
    codes = np.fromiter((found.setdefault(name, len(found)) for name in names), np.int32)
    return _strings(list(found)), codes


def _integers(values: Sequence[Any]) -> Ints:
    wrong = [value for value in values if not isinstance(value, (int, np.integer))]
    if wrong:
        raise InvalidInputError(
            f"A document is judged {wrong[0]!r}; judgements must be integers. Give the task whole "
            "grades in its dataset_transform."
        )
    return np.array(values, np.int64)


def _offsets(sizes: Sequence[int] | Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _strings(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())


def _array(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    chunks = column.chunks or [pa.array([], column.type)]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _numpy(array: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values
