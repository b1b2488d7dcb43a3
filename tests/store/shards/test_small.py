"""States in 8 bits a value: how far they are off, and what stays exact."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.errors import InvalidInputError, StateRangeError
from actstore.store.arrays.chunked import (
    shard_key,
)
from actstore.store.arrays.zarr_metadata import (
    sharded_array,
    write_document,
)
from actstore.store.shards import (
    ENCODINGS,
    SMALL,
    ShardBuilder,
    ShardIdentity,
    ShardLayout,
)
from actstore.store.shards.encodings.rotation import rotation
from actstore.store.storage import LocalStorage

ENCODING = ENCODINGS[SMALL]
PAGE = Path(__file__).parents[3] / "docs" / "precision.md"


def encoded(states: np.ndarray, filled: np.ndarray | None = None) -> np.ndarray:
    """The stored chunk (row, width)."""
    filled = np.ones(len(states), bool) if filled is None else filled
    chunk = np.frombuffer(ENCODING.encode(states, filled), np.uint8).reshape(len(states), -1)
    assert chunk.shape[1] == ENCODING.width(states.shape[1], len(states))
    return chunk


def decoded(chunk: np.ndarray, hidden: int, rows: Any = slice(None)) -> np.ndarray:
    out = np.empty((len(chunk[rows]), hidden), np.float32)
    ENCODING.decode(chunk, rows, out)
    return out


def stored(states: np.ndarray) -> np.ndarray:
    return decoded(encoded(states), states.shape[1])


def residual_stream(n: int = 256, hidden: int = 384) -> np.ndarray:
    """States of which two dimensions are a hundred times as large as the rest, and alike."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((n, hidden))
    states[:, [5, 200]] += 100 * (1 + 0.01 * rng.standard_normal((n, 2)))
    return states.astype(np.float32)


def lost(states: np.ndarray, kept: np.ndarray) -> float:
    """The error, relative to how far the states are from their mean."""
    off = np.linalg.norm(states - states.mean(0))
    return float(np.linalg.norm(kept - states) / off)


def test_massive_dimensions_cost_the_others_no_precision() -> None:
    states = residual_stream()
    assert lost(states, stored(states)) < 0.009
    step = np.abs(states).max(1, keepdims=True) / 127
    assert lost(states, np.rint(states / step) * step) > 0.15  # 8 bits without any of it


@pytest.mark.parametrize("hidden", [1, 3, 64, 384, 768, 1024, 2304, 4096])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_row_is_off_by_at_most_half_a_step_in_every_rotated_dimension(
    hidden: int, dtype: str
) -> None:
    states = np.random.default_rng(hidden).standard_normal((32, hidden)).astype(dtype)
    chunk = encoded(states)
    steps = np.ascontiguousarray(chunk[:, hidden : hidden + 4]).view("<f4")[:, 0]
    scale = steps * np.sqrt(rotation(hidden).norm)  # of the orthonormal rotation
    errors = np.linalg.norm(decoded(chunk, hidden) - states.astype(np.float32), axis=1)
    assert (errors <= np.sqrt(hidden) * scale / 2 * 1.0001).all()


def test_rows_that_are_all_the_same_stay_exactly_so() -> None:
    states = np.tile(residual_stream(1), (50, 1))
    np.testing.assert_array_equal(stored(states), states)


def test_a_row_of_zeros_stays_zero_among_others() -> None:
    states = residual_stream()
    states[7] = 0
    assert not stored(states)[7].any()
    assert stored(states)[8].any()
    assert not stored(np.zeros((4, 8), np.float16)).any()


def test_one_row_alone_is_exact() -> None:
    states, filled = residual_stream(64), np.arange(64) == 9
    kept = decoded(encoded(states, filled), 384)
    np.testing.assert_array_equal(kept[9], states[9])


def test_rows_without_a_text_are_nan_and_do_not_move_the_others() -> None:
    states, filled = residual_stream(64), np.arange(64) < 40
    states[~filled] = np.nan
    kept = decoded(encoded(states, filled), 384)
    assert np.isnan(kept[~filled]).all()
    assert lost(states[filled], kept[filled]) < 0.009


@settings(max_examples=40, deadline=None)
@given(rows=st.sets(st.integers(0, 63), min_size=1), hidden=st.sampled_from([48, 64, 384, 1024]))
def test_a_row_reads_the_same_in_any_company(rows: set[int], hidden: int) -> None:
    chunk = encoded(residual_stream(64, max(hidden, 201))[:, :hidden].copy())
    chosen = np.array(sorted(rows))
    whole = decoded(chunk, hidden)
    np.testing.assert_array_equal(decoded(chunk, hidden, chosen), whole[chosen])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_states_that_are_not_finite_are_refused(value: float) -> None:
    states = residual_stream(8)
    states[3, 3] = value
    with pytest.raises(StateRangeError, match="--precision exact"):
        encoded(states)


def test_the_largest_and_the_smallest_numbers_are_kept_or_refused() -> None:
    rng = np.random.default_rng(0)
    tiny = (rng.standard_normal((16, 64)) * 1e-30).astype(np.float32)
    assert lost(tiny * np.float32(1e30), stored(tiny) * np.float32(1e30)) < 0.009
    half = (rng.uniform(-1, 1, (16, 64)) * 65504).astype(np.float16)
    assert np.isfinite(stored(half)).all()
    with pytest.raises(StateRangeError):
        encoded((rng.choice([-1, 1], (16, 64)) * np.finfo(np.float32).max).astype(np.float32))


def test_a_hidden_size_without_factors_of_two_is_refused_where_it_is_planned() -> None:
    with pytest.raises(InvalidInputError, match="1000003"):
        ENCODING.width(1_000_003, 16)


def recipe() -> str:
    """The code of the page that says how to decode."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(block)


@pytest.mark.parametrize("hidden", [12, 45, 384])
def test_the_recipe_of_the_page_decodes_what_zarr_reads(tmp_path: Path, hidden: int) -> None:
    layout = ShardLayout(2, 16, 8, hidden, "float16", SMALL)
    states = np.random.default_rng(0).standard_normal((2, 16, hidden)).astype("float16")
    states[:, 3] = 0
    used = np.arange(12)
    builder = ShardBuilder(layout)
    builder.put(used, states[:, used])
    storage = LocalStorage(tmp_path)
    sealed = builder.seal(used, ShardIdentity("plan", "a", 0, "content"))
    storage.create(shard_key("a", 0), sealed.image)
    write_document(storage, "a", sharded_array(layout, 32, ("layer", "text", "hidden"), {}))
    names: dict[str, Any] = {}
    exec(recipe(), names)
    array = zarr.open_array(tmp_path / "a", mode="r")
    for layer in range(2):
        kept = names["decode"](array, layer, 0, 32)
        assert kept.shape == (32, hidden)
        assert np.isnan(kept[12:]).all()  # no text in the chunk; none in the shard
        assert not kept[3].any()
        assert lost(states[layer, used].astype(float), kept[used]) < 0.02
        chunk = array[layer, :8]
        np.testing.assert_allclose(kept[:8], decoded(chunk, hidden), rtol=1e-5, atol=1e-6)
