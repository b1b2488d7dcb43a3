"""The tuned lens: its gradients are torch's and finite differences', and it only gets better."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax

from actstore.errors import InvalidInputError
from actstore.metrics import lens_kl_final_to_layer
from actstore.metrics.lens.fitted import teacher as teaching
from actstore.metrics.lens.fitted.affine import affine, choose_ridge
from actstore.metrics.lens.fitted.gradients import pull_back, require_differentiable
from actstore.metrics.lens.fitted.moments import regression_moments
from actstore.metrics.lens.fitted.teacher import HeadParts, teacher_of
from actstore.metrics.lens.fitted.translator import Translator
from actstore.metrics.lens.fitted.tuned import TokenStates, Tuned, TuningSettings, tune
from actstore.store import LensHead
from actstore.store.heads.head_ops import (
    ACTIVATIONS,
    Activation,
    HeadOp,
    LayerNorm,
    Linear,
    RmsNorm,
    Scale,
    Softcap,
)

HIDDEN, VOCABULARY = 8, 300
Rows = NDArray[np.float64]
OPS = [
    LayerNorm("gain", "shift", 1e-3),
    RmsNorm("gain", "shift", 1e-3),
    Linear("dense", "shift"),
    Linear("unembedding", None),
    Scale(0.3),
    Softcap(2.0),
    *(Activation(name) for name in ACTIVATIONS),
]
TAILS: list[tuple[HeadOp, ...]] = [
    (),
    (Scale(0.3),),
    (Softcap(3.0),),
    (Scale(2.0), Softcap(3.0), Scale(0.5)),
]


@pytest.fixture
def arrays(rng: np.random.Generator) -> dict[str, Rows]:
    return {
        "gain": rng.normal(1, 0.3, HIDDEN),
        "shift": rng.normal(size=HIDDEN),
        "dense": rng.normal(size=(HIDDEN, HIDDEN)),
        "unembedding": rng.normal(size=(VOCABULARY, HIDDEN)),
        "of_ids": rng.normal(size=VOCABULARY),
    }


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that this small vocabulary and these few tokens fall into several tiles."""
    monkeypatch.setattr(teaching, "_VOCAB_TILE", 70)
    monkeypatch.setattr(teaching, "_AT_ONCE", 7)


def head_with(tail: tuple[HeadOp, ...], arrays: dict[str, Rows]) -> LensHead:
    before = (LayerNorm("gain", "shift", 1e-5), Linear("dense", "shift"), Activation("gelu"))
    return LensHead((*before, Linear("unembedding", "of_ids"), *tail), arrays, 0.0)


@pytest.mark.parametrize("op", OPS, ids=str)
def test_gradients_are_finite_differences(
    op: HeadOp, arrays: dict[str, Rows], rng: np.random.Generator
) -> None:
    x = rng.normal(size=(20, HIDDEN)) * 2
    gradient = rng.normal(size=op.apply(x, arrays).shape)
    along, step = rng.normal(size=x.shape), 1e-6
    rise = op.apply(x + step * along, arrays) - op.apply(x - step * along, arrays)
    expected = (gradient * rise).sum(axis=1) / (2 * step)
    found = (pull_back(op, x, gradient, arrays) * along).sum(axis=1)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_the_slope_of_gelu_at_zero_is_a_half() -> None:
    found = pull_back(Activation("gelu"), np.zeros((1, 1)), np.ones((1, 1)), {})
    assert found.item() == 0.5


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("tail", TAILS, ids=str)
def test_the_divergence_is_scipys(
    tail: tuple[HeadOp, ...], arrays: dict[str, Rows], rng: np.random.Generator
) -> None:
    head = head_with(tail, arrays)
    final, layer = rng.normal(size=(2, 30, HIDDEN)) * 3
    tokens = np.array([3, 29, 0])
    found = teacher_of(final, HeadParts.of(head)).kl(head.norm(layer[tokens]), tokens)
    p, q = softmax(head.logits(final), axis=1), softmax(head.logits(layer), axis=1)
    assert found == pytest.approx(rel_entr(p, q).sum(axis=1)[tokens], rel=1e-9, abs=1e-11)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("tail", TAILS, ids=str)
def test_the_gradient_of_the_divergence_is_torchs(
    tail: tuple[HeadOp, ...], arrays: dict[str, Rows], rng: np.random.Generator
) -> None:
    head = head_with(tail, arrays)
    final, layer = rng.normal(size=(2, 30, HIDDEN)) * 3
    normed = head.norm(layer)
    found = teacher_of(final, HeadParts.of(head)).gradient(normed, slice(None))
    wanted = torch.tensor(log_softmax(head.logits(final), axis=1))
    leaf = torch.tensor(normed, requires_grad=True)
    weight, bias = torch.tensor(arrays["unembedding"]), torch.tensor(arrays["of_ids"])
    logits = in_torch(tail, leaf @ weight.T + bias).log_softmax(dim=1)
    torch.nn.functional.kl_div(logits, wanted, reduction="sum", log_target=True).backward()
    assert leaf.grad is not None
    assert found == pytest.approx(leaf.grad.numpy(), rel=1e-9, abs=1e-12)


def in_torch(ops: tuple[HeadOp, ...], x: torch.Tensor) -> torch.Tensor:
    for op in ops:
        match op:
            case Scale():
                x = x * op.factor
            case Softcap():
                x = op.cap * torch.tanh(x / op.cap)
            case _:
                raise AssertionError(f"no torch for {op}")
    return x


@pytest.mark.parametrize("tail", TAILS[1:3], ids=str)
def test_one_step_is_torchs_adam(
    tail: tuple[HeadOp, ...], arrays: dict[str, Rows], rng: np.random.Generator
) -> None:
    """Of a whole batch, on the standardised states that `tune` documents."""
    head = LensHead((RmsNorm("gain", "shift", 1e-5), Linear("unembedding", None), *tail), arrays, 0)
    final = rng.normal(size=(40, HIDDEN)) + 2
    layer = final + rng.normal(size=final.shape)
    start = Translator(np.eye(HIDDEN), np.zeros(HIDDEN))
    states = TokenStates(layer, final)
    settings = TuningSettings(steps=1, batch_tokens=40, learning_rate=1e-2)
    found = tune(start, states, states, head, settings)
    step = torch.zeros(HIDDEN, HIDDEN + 1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([step], lr=1e-2)
    standard = (layer - layer.mean(axis=0)) / layer.std(axis=0) / np.sqrt(HIDDEN)
    features = torch.tensor(np.concatenate([standard, np.ones((40, 1))], axis=1))
    sizes = torch.tensor(final.std(axis=0))

    def estimate() -> torch.Tensor:
        return torch.tensor(layer) + (features @ step.T) * sizes

    x = estimate()
    x = x / (x.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    x = x * torch.tensor(arrays["gain"]) + torch.tensor(arrays["shift"])
    logits = in_torch(tail, x @ torch.tensor(arrays["unembedding"]).T).log_softmax(dim=1)
    wanted = torch.tensor(log_softmax(head.logits(final), axis=1))
    torch.nn.functional.kl_div(logits, wanted, reduction="batchmean", log_target=True).backward()
    adam.step()
    assert found.steps == 1
    assert found.translator(layer) == pytest.approx(estimate().detach().numpy(), abs=1e-6)


@dataclass(frozen=True)
class Noisy:
    """Tokens whose final states are a bent function of the layer's, and noise; a real-ish head."""

    head: LensHead
    train: TokenStates
    held_out: TokenStates
    new: TokenStates

    @classmethod
    def make(cls, rng: np.random.Generator, n: int = 3000, dtype: str = "float32") -> Noisy:
        arrays = {
            "gain": rng.normal(1, 0.2, HIDDEN),
            "shift": rng.normal(0, 0.2, HIDDEN),
            "unembedding": rng.normal(size=(VOCABULARY, HIDDEN)),
        }
        ops = (LayerNorm("gain", "shift", 1e-5), Linear("unembedding", None))
        layer = rng.normal(size=(n, HIDDEN)) * np.geomspace(30, 0.3, HIDDEN) + 3
        bent = 3 * np.tanh(layer @ rng.normal(size=(HIDDEN, HIDDEN)) / 3)
        final = bent + 0.05 * layer + 0.3 * rng.normal(size=bent.shape)
        cuts = [n // 3, n // 2]
        split = (np.split(states.astype(dtype), cuts) for states in (layer, final))
        parts = zip(*split, strict=True)
        return cls(LensHead(ops, arrays, 0.0), *(TokenStates(*part) for part in parts))

    def affine(self) -> Translator:
        m = regression_moments(self.train.layer, self.train.final)
        held_out = regression_moments(self.held_out.layer, self.held_out.final)
        return affine(m, choose_ridge(m, held_out))

    def tuned(self, settings: TuningSettings | None = None, seed: int = 0) -> Tuned:
        return tune(self.affine(), self.train, self.held_out, self.head, settings, seed)

    def kl(self, translator: Translator) -> float:
        """On tokens that nothing was fitted to."""
        estimate = translator(self.new.layer)
        return float(lens_kl_final_to_layer(estimate, self.new.final, self.head).mean())


def test_tuned_beats_affine_which_beats_no_lens_on_new_tokens(rng: np.random.Generator) -> None:
    noisy = Noisy.make(rng)
    tuned = noisy.tuned()
    nothing = Translator(np.eye(HIDDEN), np.zeros(HIDDEN))
    assert noisy.kl(tuned.translator) < noisy.kl(noisy.affine()) < noisy.kl(nothing)
    assert tuned.kl < tuned.start_kl


def test_what_the_lens_says_of_held_out_tokens_is_their_divergence(
    rng: np.random.Generator,
) -> None:
    noisy = Noisy.make(rng, dtype="float64")
    tuned = noisy.tuned(TuningSettings(steps=30))
    for translator, kl in ((noisy.affine(), tuned.start_kl), (tuned.translator, tuned.kl)):
        estimate = translator(noisy.held_out.layer)
        true = lens_kl_final_to_layer(estimate, noisy.held_out.final, noisy.head).mean()
        assert kl == pytest.approx(true)


@pytest.mark.parametrize("learning_rate", [1e-3, 100.0])
def test_it_is_never_worse_than_its_start(learning_rate: float, rng: np.random.Generator) -> None:
    """Even for one token to learn from, and steps that are far too large."""
    noisy = Noisy.make(rng)
    one = TokenStates(noisy.train.layer[:1], noisy.train.final[:1])
    settings = TuningSettings(steps=40, check_every=5, learning_rate=learning_rate)
    tuned = tune(noisy.affine(), one, noisy.held_out, noisy.head, settings)
    assert tuned.kl <= tuned.start_kl
    assert noisy.kl(tuned.translator) < 1.05 * noisy.kl(noisy.affine())


def test_it_stops_once_held_out_tokens_gain_no_more(rng: np.random.Generator) -> None:
    """A start that is perfect: after `patience` looks it is kept."""
    noisy = Noisy.make(rng)
    same = TokenStates(noisy.held_out.final, noisy.held_out.final)
    start = Translator(np.eye(HIDDEN), np.zeros(HIDDEN))
    settings = TuningSettings(steps=10**9, check_every=2, patience=2)
    tuned = tune(start, noisy.train, same, noisy.head, settings)
    assert tuned.steps == 0
    assert tuned.translator is start
    assert tuned.kl == pytest.approx(0, abs=1e-5)


def test_a_seed_gives_the_same_lens_again_and_another_seed_another(
    rng: np.random.Generator,
) -> None:
    noisy = Noisy.make(rng)
    settings = TuningSettings(steps=20, batch_tokens=100, check_every=10)
    first, again, other = (noisy.tuned(settings, seed).translator.weight for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_nothing_of_the_size_of_tokens_times_vocabulary_is_held(rng: np.random.Generator) -> None:
    n, vocabulary, width = 512, 60_000, 8
    arrays = {"unembedding": rng.normal(size=(vocabulary, width)).astype(np.float32)}
    head = LensHead((Linear("unembedding", None), Softcap(5.0)), arrays, 0.0)
    final, layer = rng.normal(size=(2, n, width)).astype(np.float32)
    for parts in (HeadParts.of(head), HeadParts.of(LensHead(head.ops[:1], arrays, 0.0))):
        tracemalloc.start()
        teacher = teacher_of(final, parts)
        teacher.kl(layer, slice(None))
        teacher.gradient(layer, slice(None))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * 4 * n * 2048  # ten float32 tiles; all logits would be 29


def test_heads_that_it_cannot_learn_through_are_refused(arrays: dict[str, Rows]) -> None:
    @dataclass(frozen=True)
    class Odd:
        kind: ClassVar[str] = "odd"

    for op in (Activation("swish2"), Odd()):
        head = LensHead((op, Linear("unembedding", None)), arrays, 0.0)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="no gradient of its step .*--lens affine"):
            require_differentiable(head)
