"""Each pooling against the same thing worked out text by text in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from actstore.errors import InvalidTextError, UnknownNameError
from actstore.extract.states import pooling
from actstore.extract.states.pooling import (
    POOLINGS,
    RealTokens,
    named_poolings,
    pool_all,
    pooling_names,
    require_tokens,
)

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


def padded(
    dtype: torch.dtype, padding: float, lengths: tuple[int, ...] = LENGTHS
) -> tuple[torch.Tensor, RealTokens]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(lengths), max(lengths), 5, generator=generator).to(dtype)
    real = RealTokens.of(np.array(lengths))
    return hidden.masked_fill(~real.mask[..., None], padding), real


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [LENGTHS, (6, 6, 6), (1,), (9, 8, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_pooling_equals_the_text_by_text_answer(
    name: str, lengths: tuple[int, ...], dtype: torch.dtype
) -> None:
    hidden, real = padded(dtype, 3.0, lengths)
    pooled = POOLINGS[name].pool(hidden, real)
    states = hidden.double().numpy()
    expected = [OF_ONE_TEXT[name](states[i, :n]) for i, n in enumerate(lengths)]
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(pooled.numpy(), np.stack(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf")])
def test_what_stands_in_the_padding_never_shows(name: str, garbage: float) -> None:
    clean, real = padded(torch.float32, padding=0.0)
    dirty, _ = padded(torch.float32, padding=garbage)
    pool = POOLINGS[name].pool
    assert torch.equal(pool(clean, real), pool(dirty, real))


@pytest.mark.parametrize("name", POOLINGS)
def test_an_infinite_state_of_a_real_token_is_never_hidden(name: str) -> None:
    hidden, real = padded(torch.float32, padding=0.0, lengths=(4, 1))
    hidden[1] = torch.inf
    pooled = POOLINGS[name].pool(hidden, real)
    assert not pooled[1].isfinite().any()
    assert pooled[0].isfinite().all()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [LENGTHS, (6, 6, 6), (1, 1)])
def test_a_pooled_vector_shares_no_memory_with_the_tokens(
    name: str, lengths: tuple[int, ...]
) -> None:
    hidden, real = padded(torch.float32, 0.0, lengths)
    pooled = POOLINGS[name].pool(hidden, real)
    before = pooled.clone()
    hidden += 1
    assert torch.equal(pooled, before)
    assert pooled.untyped_storage().nbytes() == 4 * pooled.numel()


def test_the_mean_of_many_float16_states_is_summed_in_float32() -> None:
    hidden = torch.full((1, 4096, 2), 30.0, dtype=torch.float16)  # the sum, 122880, is beyond fp16
    pooled = POOLINGS["mean"].pool(hidden, RealTokens.of(np.array([4096])))
    assert pooled.tolist() == [[30.0, 30.0]]


def test_pooling_a_batch_in_pieces_gives_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden, real = padded(torch.float32, torch.nan, lengths=(9, 7, 7, 3, 3, 1))
    poolings, norm = named_poolings(pooling_names()), nn.LayerNorm(5)
    whole = pool_all(hidden, real, poolings, norm)
    for texts in (1, 2, 4):
        monkeypatch.setattr(pooling, "_PIECE", texts * hidden[0].numel())
        pieces = pool_all(hidden, real, poolings, norm)
        for one, other in zip(pieces, whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_normed_poolings_pool_normed_tokens_and_the_others_raw_ones() -> None:
    hidden, real = padded(torch.float32, 0.0)
    norm = nn.LayerNorm(5)
    raw, normed = pool_all(hidden, real, named_poolings(["max", "max_normed"]), norm)
    torch.testing.assert_close(raw, POOLINGS["max"].pool(hidden, real))
    torch.testing.assert_close(normed, POOLINGS["max"].pool(norm(hidden), real))


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(InvalidTextError, match=r"Texts \[1\] of a batch of 2"):
        require_tokens(np.array([3, 0]))
    require_tokens(np.array([3]))


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
