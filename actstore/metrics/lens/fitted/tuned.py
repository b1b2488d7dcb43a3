"""The tuned lens: an affine map that makes the layer predict what the model does in the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.fitted.gradients import (
    inputs_of,
    pull_back_all,
    require_differentiable,
)
from actstore.metrics.lens.fitted.teacher import HeadParts, Teacher, teacher_of
from actstore.metrics.lens.fitted.translator import Translator
from actstore.store import LensHead

_DECAY, _SQUARED_DECAY, _TINY = 0.9, 0.999, 1e-8
"""Adam's, as Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1, recommends."""
_AT_ONCE = 1024
"""Tokens that pass through the head together when nothing is learnt."""


@dataclass(frozen=True)
class TuningSettings:
    """How the tuned lens is fitted."""

    steps: int = 500
    """At most."""
    batch_tokens: int = 512
    learning_rate: float = 1e-2
    """At the first step; it falls to 0 along a line. In units of standard deviations: of each
    dimension of the layer's states, to those of the last layer's over the root of their number."""
    check_every: int = 25
    """Steps between two looks at the held-out tokens."""
    patience: int = 4
    """Looks without anything better after which it stops."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned lens, and how it came about."""

    translator: Translator
    """The best found by the held-out tokens; the start, if nothing was better."""
    steps: int
    """After which it was found: 0 for the start."""
    start_kl: float
    """Mean KL(final || layer) in bits of the start, over the held-out tokens."""
    kl: float
    """The same of `translator`: never more."""


@dataclass(frozen=True, eq=False)
class TokenStates:
    """The states of the same tokens at a layer and at the last one."""

    layer: Floats
    """(token, hidden)."""
    final: Floats
    """(token, hidden)."""


def tune(
    start: Translator,
    train: TokenStates,
    held_out: TokenStates,
    head: LensHead,
    settings: TuningSettings | None = None,
    seed: int = 0,
) -> Tuned:
    """Lower the mean KL(final || layer) of a map's predictions by Adam over minibatches of tokens.

    start: the map to begin with, such as `affine`. It is learnt from the tokens of `train`, and
    the best of the maps on the way by those of `held_out` is kept. Through the head it computes
    in float64 if the states are float64, else in float32; the gradient is written by hand. seed:
    chooses the order of the tokens. Returns a float64 map.
    Raises InvalidInputError for a head with a step that has no gradient here.
    Source: Belrose et al. 2023, https://arxiv.org/abs/2303.08112, section 3 (loss and map; Adam
    from a regression instead of SGD from the identity).
    """
    require_differentiable(head)
    chosen = settings or TuningSettings()
    parts = HeadParts.of(head)
    judge = _Judge(held_out.layer, teacher_of(held_out.final, parts), parts)
    learner = _Learner(start, train, teacher_of(train.final, parts), parts)
    start_kl = judge.kl(start)
    best = Tuned(start, 0, start_kl, start_kl)
    for step, tokens in enumerate(_batches(len(train.layer), chosen, seed), 1):
        learner.learn(tokens, chosen.learning_rate * (1 - (step - 1) / chosen.steps))
        if step % chosen.check_every and step < chosen.steps:
            continue
        found = learner.translator()
        kl = judge.kl(found)
        if kl < best.kl:
            best = Tuned(found, step, start_kl, kl)
        elif step - best.steps >= chosen.patience * chosen.check_every:
            break
    return best


def _batches(n: int, settings: TuningSettings, seed: int) -> Iterator[NDArray[np.int64]]:
    """Places of the tokens of each step: all tokens in a new random order, then again."""
    rng = np.random.default_rng(seed)
    size = min(settings.batch_tokens, n)
    order = rng.permutation(n)
    for _ in range(settings.steps):
        if len(order) < size:
            order = np.concatenate([order, rng.permutation(n)])
        yield order[:size]
        order = order[size:]


@dataclass(frozen=True, eq=False)
class _Judge:
    """Says how good a map is on tokens that nothing is learnt from."""

    states: Floats
    teacher: Teacher
    parts: HeadParts

    def kl(self, translator: Translator) -> float:
        """Mean KL(final || layer) in bits."""
        total = 0.0
        for low in range(0, len(self.states), _AT_ONCE):
            some = slice(low, low + _AT_ONCE)
            states = self.states[some]
            estimate = translator(states).astype(states.dtype)
            total += float(self.teacher.kl(self.parts.head.norm(estimate), some).sum())
        return total / len(self.states) / math.log(2)


class _Learner:
    """Adam on standardised states: layers, and dimensions of one, differ in size by thousands.

    estimate = (map + size * step) features, with features (x - mean) / deviation / sqrt(hidden)
    and a 1 for the bias, and `step` (hidden, hidden + 1) what is learnt, from 0.
    """

    def __init__(
        self, start: Translator, train: TokenStates, teacher: Teacher, parts: HeadParts
    ) -> None:
        self.states, self.teacher, self.parts = train.layer, teacher, parts
        self.mean = train.layer.mean(axis=0, dtype=np.float64)
        deviation = train.layer.std(axis=0, dtype=np.float64)
        self.width = np.where(deviation > 0, deviation, 1.0) * np.sqrt(len(deviation))
        self.size = train.final.std(axis=0, dtype=np.float64)[:, None]
        image = start(self.mean[None])
        self.map = np.concatenate([start.weight * self.width, image.T], axis=1)
        self.step = np.zeros_like(self.map)
        self.drift, self.spread = np.zeros_like(self.map), np.zeros_like(self.map)
        self.n_steps = 0

    def learn(self, tokens: NDArray[np.int64], rate: float) -> None:
        """One step of Adam on some of the tokens."""
        gradient = self._gradient(tokens)
        self.n_steps += 1
        self.drift += (1 - _DECAY) * (gradient - self.drift)
        self.spread += (1 - _SQUARED_DECAY) * (np.square(gradient) - self.spread)
        drift = self.drift / (1 - _DECAY**self.n_steps)
        spread = self.spread / (1 - _SQUARED_DECAY**self.n_steps)
        self.step -= rate * drift / (np.sqrt(spread) + _TINY)

    def translator(self) -> Translator:
        """The map as it is now."""
        whole = self.map + self.size * self.step
        weight = whole[:, :-1] / self.width
        return Translator(weight, whole[:, -1] - weight @ self.mean)

    def _gradient(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the mean KL in nats with respect to `step`."""
        states, head = self.states[tokens], self.parts.head
        standard = (states - self.mean) / self.width
        features = np.concatenate([standard, np.ones((len(tokens), 1))], axis=1)
        features = features.astype(states.dtype)
        whole = (self.map + self.size * self.step).astype(states.dtype)
        inputs, normed = inputs_of(self.parts.before, features @ whole.T, head.arrays)
        back = self.teacher.gradient(normed, tokens)
        back = pull_back_all(self.parts.before, inputs, back, head.arrays)
        return np.asarray(self.size * (back.T @ features).astype(np.float64) / len(tokens))
