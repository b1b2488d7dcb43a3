"""States rounded to 7 bits of fraction, every float16 there is, and hostile compressed bytes."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.bitround import BitRound

from actstore.store.shards import COMPACT, ENCODINGS
from actstore.store.shards.encodings.compact import rounded_states

COMPACT_ENCODING = ENCODINGS[COMPACT]
EVERY_FLOAT16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
SMALLEST_NORMAL = 2.0**-14


def finite_float16() -> np.ndarray:
    return EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)]


def some_float32() -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    values = bits.view(np.float32)
    return values[np.isfinite(values)]


def as_float16(values: list[float]) -> np.ndarray:
    return np.array(values, np.float16)


def test_every_normal_number_is_off_by_at_most_a_256th_of_itself() -> None:
    values = finite_float16().astype(np.float64)
    errors = np.abs(rounded_states(finite_float16()).astype(np.float64) - values)
    normal = np.abs(values) >= SMALLEST_NORMAL
    assert (errors[normal] <= 2.0**-8 * np.abs(values[normal])).all()
    assert (errors[~normal] <= 2.0**-22).all()


def test_float32_is_rounded_as_bfloat16_rounds_it() -> None:
    values = some_float32()
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    held = np.isfinite(expected)
    np.testing.assert_array_equal(rounded_states(values)[held], expected[held])


def test_float16_is_rounded_as_numcodecs_rounds_it() -> None:
    values = finite_float16()
    expected = BitRound(keepbits=7).encode(values.copy()).view(np.float16)
    held = np.isfinite(expected)
    assert 0 < (~held).sum() < 200
    np.testing.assert_array_equal(rounded_states(values)[held], expected[held])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_no_finite_number_becomes_infinite_and_no_other_one_finite(dtype: type) -> None:
    largest = np.finfo(dtype).max
    values = np.array([largest, -largest, np.inf, -np.inf, np.nan], dtype)
    rounded = rounded_states(values)
    assert np.isfinite(rounded[:2]).all()
    np.testing.assert_allclose(rounded[:2].astype(float), values[:2].astype(float), rtol=2.0**-8)
    np.testing.assert_array_equal(rounded[2:], values[2:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rounded_states_stay_what_they_are(dtype: type) -> None:
    values = finite_float16().astype(dtype)
    once = rounded_states(values)
    np.testing.assert_array_equal(rounded_states(once), once)


def packed(states: np.ndarray) -> bytes:
    return COMPACT_ENCODING.encode(states, np.ones(len(states), bool))


def unpacked(data: bytes, states: np.ndarray) -> np.ndarray:
    out = np.zeros(states.nbytes, np.uint8)
    COMPACT_ENCODING.decompress(np.frombuffer(data, np.uint8), out)
    return out.view(states.dtype).reshape(states.shape)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_compressed_bytes_are_fewer_and_give_the_rounded_states_back(dtype: str) -> None:
    states = np.random.default_rng(0).standard_normal((256, 384)).astype(dtype)
    data = packed(states)
    assert len(data) < 1.1 * COMPACT_ENCODING.share(dtype) * states.nbytes
    np.testing.assert_array_equal(unpacked(data, states), rounded_states(states))


def test_what_cannot_be_compressed_grows_by_no_more_than_is_planned_for() -> None:
    noise = np.random.default_rng(0).integers(0, 1 << 15, (64, 96), dtype=np.uint16) | 0x380
    states = (noise & 0x7BFF).view(np.float16)
    assert len(packed(states)) <= states.nbytes + COMPACT_ENCODING.overhead


def test_bytes_do_not_depend_on_the_thread_that_compresses() -> None:
    states = np.random.default_rng(0).standard_normal((512, 512)).astype("float32")
    found = [packed(states)]
    thread = threading.Thread(target=lambda: found.append(packed(states)))
    thread.start()
    thread.join()
    assert found[0] == found[1] == packed(states)


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=8))
def test_altered_bytes_are_refused_or_fill_the_chunk(flips: list[tuple[int, int]]) -> None:
    """Whoever alters a chunk can alter its checksum too; no byte may be read or written outside."""
    states = np.random.default_rng(1).standard_normal((64, 64)).astype("float16")
    data = bytearray(packed(states))
    for place, change in flips:
        data[place % len(data)] ^= change
    with suppress(ValueError):
        unpacked(bytes(data), states)


@pytest.mark.parametrize("size", [0, 7, 15, 16, 17])
def test_cut_bytes_are_refused(size: int) -> None:
    states = np.zeros((8, 8), np.float16)
    with pytest.raises(ValueError, match="bytes"):
        unpacked(packed(states)[:size], states)


def test_a_chunk_that_says_it_is_huge_is_refused_before_anything_is_allocated() -> None:
    states = np.zeros((8, 8), np.float16)
    data = bytearray(packed(states))
    data[4:8] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(ValueError, match=str(1 << 31)):
        unpacked(bytes(data), states)
