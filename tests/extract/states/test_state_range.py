"""What a stored dtype cannot hold is found and named; what it can hold passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actstore.errors import StateRangeError
from actstore.extract.states.state_range import StatesOf, keep, require_range

LAYERS = (0, 4, 9)
ROWS = np.array([70, 71, 72, 73])


def states() -> torch.Tensor:
    """(3 layers, 4 vectors, 64 values), all ordinary."""
    return torch.randn(3, 4, 64, generator=torch.Generator().manual_seed(0))


def check(computed: torch.Tensor, dtype: str = "float16") -> float:
    kept = keep(list(computed), getattr(torch, dtype))
    what = StatesOf("mean", LAYERS, ROWS, dtype, torch.float32)
    return require_range(kept.check.numpy(), what)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_largest_value_is_that_of_the_stored_states(dtype: str) -> None:
    kept = keep(list(states()), getattr(torch, dtype))
    assert check(states(), dtype) == float(kept.states.abs().max())
    assert kept.states.dtype == getattr(torch, dtype)


def test_what_is_kept_shares_no_memory_with_what_was_computed() -> None:
    computed = states()
    kept = keep(list(computed), torch.float32)
    computed += 1
    assert torch.equal(kept.states, states())


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e-3, 1.0, 1e4])
def test_vectors_inside_the_range_of_float16_pass(scale: float) -> None:
    check(states() * scale)


@pytest.mark.parametrize("value", [65520.0, 1e30, -3e38])
def test_a_value_beyond_float16_is_named_with_layer_pooling_and_rows(value: float) -> None:
    computed = states()
    computed[1, 2, 5] = value
    with pytest.raises(StateRangeError, match=r"layer 4 \(mean\).*1 texts, rows \[72\].*beyond"):
        check(computed)
    assert check(computed, "float32") == pytest.approx(abs(value))


def test_the_largest_float16_passes() -> None:
    computed = states()
    computed[1, 2, 5] = 65519.0  # rounds to 65504
    assert check(computed) == 65504.0


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-20, 1e-9, 1e-7, 1e-6])
def test_a_vector_too_small_for_float16_is_named(scale: float) -> None:
    computed = states()
    computed[2, 1] *= scale
    computed[2, 3] *= scale
    with pytest.raises(
        StateRangeError, match=r"layer 9 .*2 texts, rows \[71, 73\].*too small.*--dtype float32"
    ):
        check(computed)
    check(computed, "float32")


def test_small_values_beside_large_ones_lose_nothing_that_counts() -> None:
    computed = states() * 1e-9
    computed[..., 0] = 100.0
    check(computed)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_model_that_computes_infinities_or_nan_is_told_apart(value: float, dtype: str) -> None:
    computed = states()
    computed[0, 3, 1] = value
    computed[1, 0, 0] = 1e30
    with pytest.raises(
        StateRangeError, match=r"layer 0 .*rows \[73\].*the model's own.*--compute-dtype"
    ):
        check(computed, dtype)


def test_states_computed_in_bfloat16_are_checked_alike() -> None:
    check(states().bfloat16())
    with pytest.raises(StateRangeError, match="too small"):
        check((states() * 1e-7).bfloat16())
