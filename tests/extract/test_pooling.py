"""Each pooling against the same thing worked out text by text in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actstore.errors import InvalidTextError, UnknownNameError
from actstore.extract.pooling import POOLINGS, named_poolings, pooling_names, require_tokens

LENGTHS = (7, 1, 4)


def _sgpt(states: np.ndarray) -> np.ndarray:
    weights = np.arange(1, len(states) + 1, dtype=np.float64)
    return np.average(states, axis=0, weights=weights)


OF_ONE_TEXT = {
    "mean": lambda states: states.mean(axis=0),
    "last": lambda states: states[-1],
    "first": lambda states: states[0],
    "weighted_mean": _sgpt,
    "max": lambda states: states.max(axis=0),
}


def padded(dtype: torch.dtype, padding: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(LENGTHS), max(LENGTHS), 5, generator=generator).to(dtype)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return hidden.masked_fill(~mask[..., None], padding), mask


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_pooling_equals_the_text_by_text_answer(name: str, dtype: torch.dtype) -> None:
    hidden, mask = padded(dtype, padding=3.0)
    pooled = POOLINGS[name].pool(hidden, mask)
    states = hidden.double().numpy()
    expected = [OF_ONE_TEXT[name](states[i, :n]) for i, n in enumerate(LENGTHS)]
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(pooled.numpy(), np.stack(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf")])
def test_what_stands_in_the_padding_never_shows(name: str, garbage: float) -> None:
    clean, mask = padded(torch.float32, padding=0.0)
    dirty, _ = padded(torch.float32, padding=garbage)
    pool = POOLINGS[name].pool
    assert torch.equal(pool(clean, mask), pool(dirty, mask))


@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooled_vector_is_a_copy_that_later_changes_do_not_reach(name: str) -> None:
    hidden, mask = padded(torch.float32, padding=0.0)
    pooled = POOLINGS[name].pool(hidden, mask)
    before = pooled.clone()
    hidden += 1
    assert torch.equal(pooled, before)


def test_the_mean_of_many_float16_states_is_summed_in_float32() -> None:
    hidden = torch.full((1, 4096, 2), 30.0, dtype=torch.float16)  # the sum, 122880, is beyond fp16
    pooled = POOLINGS["mean"].pool(hidden, torch.ones(1, 4096, dtype=torch.bool))
    assert pooled.tolist() == [[30.0, 30.0]]


def test_a_text_without_tokens_is_refused() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(InvalidTextError, match=r"Texts \[1\] of a batch of 2"):
        require_tokens(mask)
    require_tokens(mask[:1])


def test_names_come_raw_and_normed_without_repeats() -> None:
    chosen = named_poolings(["mean_normed", "max", "mean_normed"])
    assert [(p.name, p.pooling.name, p.normed) for p in chosen] == [
        ("mean_normed", "mean", True),
        ("max", "max", False),
    ]
    assert set(pooling_names()) == {*OF_ONE_TEXT, *(f"{name}_normed" for name in OF_ONE_TEXT)}


def test_an_unknown_pooling_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'mean_normed'"):
        named_poolings(["mean_norm"])
