"""Coefficients of one metric with scores: over all arms, over layers, over checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from actstore.report.correlation.coefficients import Method, coefficients
from actstore.report.correlation.red_noise import surrogates

_FEWEST = 5
"""Arms below which there is no coefficient."""
_REACH = 1.959963984540054


class Scope(StrEnum):
    ARMS = "arms"
    """Over all arms."""
    LAYERS = "layers"
    """Over the layers of a checkpoint; for each of them, and the mean over checkpoints."""
    CHECKPOINTS = "checkpoints"
    """Over the checkpoints at a layer; for each of them, and the mean over layers."""


@dataclass(frozen=True)
class Coefficient:
    """Of one metric with one score, and how it stands to chance."""

    at: int | None
    """Which checkpoint or layer, by its place; None: all, or their mean."""
    score: int
    """Which score, by its place."""
    value: float
    expected: float
    """Its mean by chance."""
    low: float
    high: float
    p: float
    n: int
    """Arms that it is over."""


@dataclass(frozen=True)
class Chance:
    """How chance is drawn."""

    n: int
    seed: tuple[int, ...]

    def fields(self, metric: NDArray[np.float64]) -> NDArray[np.float64]:
        return surrogates(metric, self.n, np.random.default_rng(self.seed))


def in_scope(
    scope: Scope,
    method: Method,
    metric: NDArray[np.float64],
    scores: NDArray[np.float64],
    chance: Chance,
) -> Iterator[Coefficient]:
    """Coefficients of a scope. metric: (checkpoint, layer). scores: (score, checkpoint, layer)."""
    if scope is Scope.ARMS:
        yield from _over_arms(method, metric, scores, chance)
    elif scope is Scope.LAYERS:
        yield from _over_lines(method, metric, scores, chance.fields(metric), chance)
    else:
        turned = chance.fields(metric).swapaxes(1, 2)
        yield from _over_lines(method, metric.T, scores.swapaxes(1, 2), turned, chance)


def _over_arms(
    method: Method, metric: NDArray[np.float64], scores: NDArray[np.float64], chance: Chance
) -> Iterator[Coefficient]:
    flat = scores.reshape(len(scores), -1)
    values = coefficients(method, metric.reshape(1, -1), flat)[0]
    drawn = chance.fields(metric).reshape(chance.n, -1)
    yield from _told(None, method, values, coefficients(method, drawn, flat, np.float32), flat)


def _over_lines(
    method: Method,
    metric: NDArray[np.float64],
    scores: NDArray[np.float64],
    drawn: NDArray[np.float64],
    chance: Chance,
) -> Iterator[Coefficient]:
    """Of each line, and their mean. metric: (line, place). drawn: (surrogate, line, place)."""
    values, by_chance = [], []
    for line, series in enumerate(metric):
        ours = scores[:, line]
        values.append(coefficients(method, series[None], ours)[0])
        by_chance.append(coefficients(method, drawn[:, line], ours))
        alone = coefficients(method, chance.fields(series[None])[:, 0], ours)
        yield from _told(line, method, values[-1], alone, ours)
    mean, chances = np.mean(values, axis=0), np.mean(by_chance, axis=0)
    yield from _told(None, method, mean, chances, scores.reshape(len(scores), -1), metric.shape[1])


def _told(
    at: int | None,
    method: Method,
    values: NDArray[np.float64],
    by_chance: NDArray[np.float64],
    scores: NDArray[np.float64],
    length: int | None = None,
) -> Iterator[Coefficient]:
    """values: (score,). by_chance: (surrogate, score). length: of the series, if not all arms."""
    n = scores.shape[1]
    for score, value in enumerate(values):
        if (length or n) < _FEWEST or not np.isfinite(value):
            yield Coefficient(at, score, np.nan, np.nan, np.nan, np.nan, np.nan, n)
            continue
        drawn = by_chance[:, score]
        reached = ~(np.abs(drawn) < abs(value) - 1e-6)  # one that is not defined counts against it
        p = float((1 + reached.sum()) / (1 + len(drawn)))
        low, high = _interval(method, float(value), drawn)
        yield Coefficient(at, score, float(value), float(np.nanmean(drawn)), low, high, p, n)


def _interval(method: Method, value: float, by_chance: NDArray[np.float64]) -> tuple[float, float]:
    """Fisher's z with the standard error that chance has; none for distance correlations."""
    if method is Method.DISTANCE:
        return np.nan, np.nan
    error = float(np.nanstd(np.arctanh(np.clip(by_chance, -1 + 1e-12, 1 - 1e-12))))
    middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return float(np.tanh(middle - _REACH * error)), float(np.tanh(middle + _REACH * error))
