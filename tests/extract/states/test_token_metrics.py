"""Token metrics on the device against those of the metrics room, which are worked out by numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from actstore import metrics
from actstore.extract.model.blocks import find_structure
from actstore.extract.model.layers import run_layers
from actstore.extract.states.token_metrics import TOKEN_METRICS, curvature, prompt_entropy
from actstore.metrics.registry import METRICS
from actstore.store.schema import TEXT_VALUES
from tests.support.tiny_models import tiny_model

ORACLES: dict[str, Callable[[np.ndarray], float]] = {
    "prompt_entropy": metrics.prompt_entropy,
    "curvature": metrics.curvature,
}
BOTH = pytest.mark.parametrize("name", ORACLES)


def oracle(name: str, hidden: Tensor, mask: Tensor) -> np.ndarray:
    """The metric of each text alone, without padding: (text,)."""
    texts = zip(hidden.double().numpy(), mask.numpy(), strict=True)
    return np.array([ORACLES[name](states[real]) for states, real in texts])


def require_equal(name: str, hidden: Tensor, mask: Tensor) -> None:
    values = TOKEN_METRICS[name].compute(hidden, mask)
    assert values.dtype == torch.float32
    expected = oracle(name, hidden.where(mask.unsqueeze(-1), torch.zeros(())), mask)
    np.testing.assert_allclose(values.numpy(), expected, rtol=2e-7, atol=1e-6)


def padded(lengths: list[int], size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random states (text, token, hidden) of unequal scale, NaN on padding; and their mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    hidden = torch.randn(len(lengths), max(lengths), size, generator=generator)
    hidden = hidden * torch.logspace(2, -2, size) + torch.linspace(-3, 3, size)
    return hidden.masked_fill(~mask.unsqueeze(-1), torch.nan), mask


def test_every_token_metric_has_an_array_and_a_metric_of_its_name_and_unit() -> None:
    assert set(TOKEN_METRICS) == set(TEXT_VALUES) == set(ORACLES)
    for name, metric in TOKEN_METRICS.items():
        assert metric.name == name
        assert metric.unit == TEXT_VALUES[name].unit == METRICS[name].unit
        assert METRICS[name].reference.startswith(metric.reference)


@BOTH
@pytest.mark.parametrize("size", [5, 16, 64], ids=["hidden < token", "equal", "hidden > token"])
def test_they_are_the_metrics_of_each_text_whatever_stands_on_padding(name: str, size: int) -> None:
    hidden, mask = padded([16, 16, 9, 3, 2, 1], size)
    require_equal(name, hidden, mask)
    for garbage in (torch.inf, -torch.inf, 6e4):
        other = hidden.masked_fill(~mask.unsqueeze(-1), garbage)
        compute = TOKEN_METRICS[name].compute
        torch.testing.assert_close(compute(other, mask), compute(hidden, mask), equal_nan=True)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_float_dtype_loses_nothing(name: str, dtype: torch.dtype) -> None:
    hidden, mask = padded([12, 10, 7], 24)
    require_equal(name, hidden.to(dtype), mask)


@BOTH
def test_a_massive_token_and_massive_dimensions_lose_nothing(name: str) -> None:
    hidden, mask = padded([20, 20], 32)
    hidden[:, 0] *= 3e3  # as the first token of most models
    hidden[:, :, 3] += 9e3
    require_equal(name, hidden, mask)


@BOTH
@pytest.mark.parametrize("family", ["gpt_neox", "bert", "mamba"])
def test_they_are_the_metrics_of_real_states_at_every_layer(name: str, family: str) -> None:
    structure = find_structure(tiny_model(family))
    lengths = torch.tensor([40, 40, 22, 3, 1])
    mask = torch.arange(40) < lengths[:, None]
    ids = torch.randint(5, 300, mask.shape, generator=torch.Generator().manual_seed(1))
    taken: list[int] = []

    def take(layer: int, hidden: Tensor) -> None:
        require_equal(name, hidden, mask)
        taken.append(layer)

    run_layers(structure, ids, mask, range(4), take)
    assert taken == [0, 1, 2, 3]


@BOTH
def test_padding_on_the_left_gives_the_same(name: str) -> None:
    hidden, mask = padded([8, 5], 6)
    left = torch.stack([hidden[0], hidden[1].roll(3, dims=0)])
    compute = TOKEN_METRICS[name].compute
    expected = compute(hidden, mask)
    torch.testing.assert_close(compute(left, torch.stack([mask[0], mask[1].roll(3)])), expected)


@pytest.mark.parametrize("n", [2, 3, 10, 50])
def test_prompt_entropy_of_orthogonal_tokens_is_the_log_of_their_number_less_one(n: int) -> None:
    values = prompt_entropy(5 * torch.eye(n, 60)[None], torch.ones(1, n, dtype=torch.bool))
    assert values.item() == pytest.approx(np.log(n - 1), abs=1e-6)


def test_prompt_entropy_without_two_directions_is_undefined() -> None:
    same = torch.full((1, 6, 4), 0.1)
    mask = torch.ones(1, 6, dtype=torch.bool)
    one = torch.arange(6)[None] < 1
    values = prompt_entropy(torch.cat([same, torch.randn(1, 6, 4)]), torch.cat([mask, one]))
    assert values.isnan().all()


def test_curvature_of_a_straight_line_a_square_and_a_return() -> None:
    line = torch.arange(6)[:, None] * torch.tensor([1.0, 2.0])
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])  # one token repeated
    back = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    hidden = torch.nn.utils.rnn.pad_sequence([line, corner, back], batch_first=True)
    mask = torch.arange(6) < torch.tensor([6, 4, 3])[:, None]
    values = curvature(hidden, mask).tolist()
    assert values == pytest.approx([0, np.pi / 2, np.pi], abs=1e-6)


def test_curvature_without_an_angle_is_undefined() -> None:
    hidden = torch.stack([torch.randn(3, 4), torch.randn(3, 4), torch.ones(3, 4)])
    mask = torch.arange(3) < torch.tensor([1, 2, 3])[:, None]
    assert curvature(hidden, mask).isnan().all()
    assert curvature(hidden[:, :1], mask[:, :1]).isnan().all()


@BOTH
def test_a_text_that_is_not_finite_leaves_the_others_alone(name: str) -> None:
    hidden, mask = padded([6, 6, 6], 4)
    compute = TOKEN_METRICS[name].compute
    expected = compute(hidden, mask)
    hidden[1, 2, 0] = torch.inf
    values = compute(hidden, mask)
    assert values[1].isnan()
    torch.testing.assert_close(values[[0, 2]], expected[[0, 2]], rtol=0, atol=0)


@BOTH
def test_one_token_that_is_not_finite_leaves_no_number(name: str) -> None:
    hidden = torch.randn(1, 9, 12, generator=torch.Generator().manual_seed(1))
    hidden[0, 4, 3] = torch.nan
    mask = torch.ones(1, 9, dtype=torch.bool)
    assert TOKEN_METRICS[name].compute(hidden, mask).isnan().all()


@BOTH
def test_a_large_batch_is_taken_in_pieces_and_gives_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, mask = padded([10] * 30 + [4] * 10, 8)
    compute = TOKEN_METRICS[name].compute
    whole = compute(hidden, mask)
    monkeypatch.setattr("actstore.extract.states.token_metrics._ELEMENTS", {"cpu": 3 * 80})
    torch.testing.assert_close(compute(hidden, mask), whole, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@BOTH
def test_a_gpu_gives_the_same(name: str) -> None:
    hidden, mask = padded([70, 60, 33, 2, 1], 48)
    values = TOKEN_METRICS[name].compute(hidden.cuda(), mask.cuda())
    expected = TOKEN_METRICS[name].compute(hidden, mask)
    torch.testing.assert_close(values.cpu(), expected, rtol=2e-7, atol=1e-6, equal_nan=True)
