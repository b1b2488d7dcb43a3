"""Names of transforms, and what is scored for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError
from actstore.evaluate.scoring.transform import Representation, Transform, representations

TRANSFORMS = st.builds(
    Transform,
    combine=st.sampled_from(["", "mean", "concat"]),
    fit=st.sampled_from(["", "center", "whiten"]),
    dims=st.none() | st.integers(1, 5000),
    l2=st.booleans(),
)


@given(TRANSFORMS)
def test_a_transform_is_read_from_its_own_name(transform: Transform) -> None:
    assert Transform.parse(str(transform)) == transform


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("l3", "no step 'l3'"),
        ("dims0", "no step 'dims0'"),
        ("l2+center", "center twice or too late"),
        ("center+whiten", "whiten twice or too late"),
        ("mean+concat", "concat twice or too late"),
        ("l2+l2", "l2 twice or too late"),
    ],
)
def test_a_wrong_name_is_refused_with_the_steps_there_are(name: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"{says}.*center or whiten, dimsN, l2"):
        Transform.parse(name)


def test_every_layer_is_scored_or_all_as_one() -> None:
    found = representations([4, 5, 7], ["mean"], [Transform(), Transform.parse("mean+l2")])
    assert [(one.layers, one.label) for one in found] == [
        ((4,), ""),
        ((5,), ""),
        ((7,), ""),
        ((4, 5, 7), "mean4-5,7+l2"),
    ]
    assert found[3].layer == 7


def test_what_is_asked_twice_is_scored_once() -> None:
    assert len(representations([0, 1], ["mean", "mean"], [Transform(), Transform()])) == 2


@pytest.mark.parametrize(
    ("transform", "width"), [("", 8), ("mean", 8), ("concat", 24), ("concat+dims10", 10)]
)
def test_width_of_what_is_scored(transform: str, width: int) -> None:
    assert Representation((0, 1, 2), "mean", Transform.parse(transform)).width(8) == width
