from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actstore.store.shards.widening import convert

ALL = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
FINITE = ALL[np.isfinite(ALL).all(1)]


@pytest.mark.parametrize("states", [ALL, FINITE], ids=["all", "finite"])
def test_every_float16_becomes_the_float32_that_numpy_makes_of_it(states: np.ndarray) -> None:
    assert_converted(states)
    for row in states[:: len(states) // 50]:
        assert_converted(row[None])


@given(
    bits=hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=3, max_side=20)),
    step=st.integers(1, 3),
    dtype=st.sampled_from(["<f2", ">f2"]),
)
def test_shape_strides_and_byte_order_do_not_matter(
    bits: np.ndarray, step: int, dtype: str
) -> None:
    assert_converted(bits.view(dtype)[::step, ::-1])


@pytest.mark.parametrize(("given_as", "wanted"), [("f2", "f2"), ("f4", "f2"), ("f2", "f8")])
def test_other_types_are_converted_as_numpy_does(given_as: str, wanted: str) -> None:
    states = FINITE.astype(given_as)
    out = np.empty(states.shape, wanted)
    convert(states, out)
    np.testing.assert_array_equal(out, states.astype(wanted))


def test_subnormal_numbers_stay_where_the_processor_flushes_them_to_zero() -> None:
    expected = FINITE.astype(np.float32)
    out = np.empty_like(expected)
    torch.set_flush_denormal(True)
    try:
        convert(FINITE, out)
    finally:
        torch.set_flush_denormal(False)
    np.testing.assert_array_equal(out, expected)


def assert_converted(states: np.ndarray) -> None:
    out = np.empty(states.shape, np.float32)
    convert(states, out)
    expected = np.ascontiguousarray(states.astype(np.float32))
    np.testing.assert_array_equal(out.view(np.uint32), expected.view(np.uint32))
