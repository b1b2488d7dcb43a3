"""Packed candidates and judgements read like the dictionaries that they stand for."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actstore.errors import InvalidInputError
from actstore.evaluate.fast.ranking.lists import (
    Candidates,
    Judgements,
    PackedLists,
    encoded,
    ranges,
)

RANKED = {"q2": ["d1", "d3"], "q1": [], "q3": ["d1", "d3"], "ä": ["d3", "d1", "d1"]}
JUDGED = {"q2": {"d3": 1, "d1": 0}, "q1": {"d1": 0, "d3": 1}, "q3": {}, "ä": {"d3": 1, "d1": 0}}
BOTH = pytest.mark.parametrize(
    ("kind", "plain"), [(Candidates, RANKED), (Judgements, JUDGED)], ids=["ranked", "judged"]
)


@BOTH
def test_they_read_like_dictionaries(kind: type[PackedLists[Any]], plain: dict[str, Any]) -> None:
    packed = kind.pack(plain)
    assert packed == plain
    assert [*packed] == [*plain]
    assert [*packed.values()] == [*plain.values()]
    assert (len(packed), "q1" in packed, "d1" in packed) == (4, True, False)
    assert packed.plain() == plain
    assert [*packed["ä"]] == [*plain["ä"]]  # the order of judgements too
    with pytest.raises(KeyError, match="other"):
        packed["other"]


@BOTH
def test_they_survive_tables_however_these_are_cut(
    kind: type[PackedLists[Any]], plain: dict[str, Any]
) -> None:
    tables = {
        name: pa.concat_tables([table[:1], table[1:]])
        for name, table in kind.pack(plain).tables().items()
    }
    assert kind.from_tables(tables) == plain
    empty = {name: table[:0] for name, table in kind.pack(plain).tables().items()}
    assert kind.from_tables(empty) == {}
    assert kind.from_tables(kind.pack({}).tables()) == {}


@BOTH
def test_equal_lists_are_kept_once(kind: type[PackedLists[Any]], plain: dict[str, Any]) -> None:
    packed = kind.pack({f"q{i}": one for i in range(50) for one in [plain["q2"]]})
    assert len(packed.offsets) == 2
    values = [*packed.plain().values()]
    assert all(value is values[0] for value in values)


@BOTH
def test_the_order_of_queries_is_gone_once_they_are_sorted(
    kind: type[PackedLists[Any]], plain: dict[str, Any]
) -> None:
    items, tables = list(plain.items()), []
    for seed in range(4):
        packed = kind.pack(dict(random.Random(seed).sample(items, len(items)))).sorted()
        assert packed == plain
        tables.append(packed.tables())
    assert [*packed] == sorted(plain)
    assert all(table == tables[0] for table in tables)


def test_the_order_of_a_list_is_part_of_it() -> None:
    other = {**JUDGED, "q2": {"d1": 0, "d3": 1}}
    one, another = (Judgements.pack(plain).sorted().tables() for plain in (JUDGED, other))
    assert one["lists"] != another["lists"] or one["queries"] != another["queries"]


def test_what_is_packed_stays_as_it_is() -> None:
    packed = Candidates.pack(RANKED)
    assert Candidates.pack(packed) is packed


@pytest.mark.parametrize("grade", [0.5, "1", None])
def test_a_grade_must_be_an_integer(grade: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"judged {grade!r}; .* must be integers"):
        Judgements.pack({"q": {"d": grade}})
    assert Judgements.pack({"q": {"d": np.int32(2), "e": True}}) == {"q": {"d": 2, "e": 1}}


def test_names_are_numbered_in_order_of_first_use_whatever_the_chunks() -> None:
    names = ["b", None, "a", "b", "ä", None, "a"]
    for cuts in ([], [3], [0, 1, 2, 6], [7]):
        pieces = np.split(np.array(names, object), cuts)
        chunks = pa.chunked_array([pa.array(one, pa.string()) for one in pieces])
        different, codes = encoded(chunks)
        assert different.to_pylist() == ["b", "a", "ä", None]
        assert codes.tolist() == [0, 3, 1, 0, 2, 3, 1]
    different, codes = encoded(pa.chunked_array([], pa.string()))
    assert (len(different), len(codes)) == (0, 0)


def test_ranges_are_the_items_of_lists_in_turn() -> None:
    items, begins = ranges(np.array([0, 3, 3, 5]), np.array([2, 1, 0, 2]))
    assert items.tolist() == [3, 4, 0, 1, 2, 3, 4]
    assert begins.tolist() == [0, 2, 2, 5, 7]
