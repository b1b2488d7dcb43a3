"""How sure a value is: 95 % intervals from leaving texts out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from actstore.metrics.registry import Metric, Statistics
from actstore.metrics.statistics import PerText

LEVEL = 0.95


class Interval(NamedTuple):
    """Its ends, NaN where none can be given, and how it was made."""

    low: float
    high: float
    how: str


NONE = Interval(float("nan"), float("nan"), "")


def jackknife_over_texts(stats: PerText) -> Interval:
    """Of a mean over texts or over their tokens.

    Each text is left out once: tokens of one text are not independent of each other. The interval
    is symmetric, with Student's t of texts - 1 degrees of freedom; NaN for fewer than two texts.
    Source: Efron & Stein 1981, https://doi.org/10.1214/aos/1176345462 (the jackknife's variance).
    """
    defined = stats.count > 0
    total, count = stats.total[defined], stats.count[defined]
    if len(total) < 2:
        return NONE
    without = (total.sum() - total) / (count.sum() - count)
    return _interval(total.sum() / count.sum(), without, "jackknife over texts")


def delete_a_group(metric: Metric[Any, Any], groups: Mapping[int, Statistics]) -> Interval:
    """Of any metric whose statistics were gathered by groups of texts.

    Each group is left out once. Rows that are centred stay centred on the mean of all. NaN where a
    value without some group is not defined, and for fewer than two groups.
    Source: Shao & Tu 1995, The Jackknife and Bootstrap, section 2.3 (grouped jackknife).
    """
    parts = [groups[number] for number in sorted(groups)]
    if len(parts) < 2:
        return NONE
    value = metric.finalize(functools.reduce(metric.combine, parts))
    without = np.array([metric.finalize(one) for one in _all_but_one(metric, parts)])
    return _interval(value, without, f"jackknife over {len(parts)} groups of texts")


def _all_but_one(metric: Metric[Any, Any], parts: list[Statistics]) -> list[Statistics]:
    """For each part the statistic of the others, from what is before it and behind it."""
    before = _running(metric, parts[:-1])
    behind = _running(metric, parts[:0:-1])[::-1]
    middle = [metric.combine(a, b) for a, b in zip(before[:-1], behind[1:], strict=True)]
    return [behind[0], *middle, before[-1]]


def _running(metric: Metric[Any, Any], parts: list[Statistics]) -> list[Statistics]:
    found = [parts[0]]
    for part in parts[1:]:
        found.append(metric.combine(found[-1], part))
    return found


def _interval(value: float, without: NDArray[np.float64], how: str) -> Interval:
    n = len(without)
    error = np.sqrt((n - 1) / n * np.square(without - without.mean()).sum())
    width = float(student.ppf((1 + LEVEL) / 2, n - 1) * error)
    if not np.isfinite(width):
        return NONE
    return Interval(value - width, value + width, f"{how}, {LEVEL:.0%}")
