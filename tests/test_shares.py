from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError
from actstore.shares import Share


@given(n=st.integers(0, 60), of=st.integers(1, 20), shift=st.integers(0, 50))
def test_shares_are_disjoint_and_together_everything_in_order(n: int, of: int, shift: int) -> None:
    parts = [Share(index, of).part(range(n), shift) for index in range(of)]
    assert [thing for part in parts for thing in part] == list(range(n))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_single_things_of_several_sequences_go_to_different_shares() -> None:
    shares = [Share(index, 4) for index in range(4)]
    owners = [[s.index for s in shares if s.part(["only"], shift)] for shift in range(4)]
    assert sorted(owners) == [[0], [1], [2], [3]]


def test_a_share_is_read_as_it_is_written() -> None:
    assert Share.parse("3/4") == Share(3, 4)
    assert Share.parse(str(Share(0, 12))) == Share(0, 12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4/4", "numbered from 0"),
        ("0/0", "no share"),
        ("1", "I/N"),
        ("a/b", "I/N"),
        ("-1/4", "I/N"),
    ],
)
def test_a_share_there_is_not_is_answered_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Share.parse(text)


def test_turned_shares_are_the_same_shares() -> None:
    assert {Share(index, 3).turned(4) for index in range(3)} == {Share(i, 3) for i in range(3)}
    assert Share(2, 3).turned(1) == Share(0, 3)
