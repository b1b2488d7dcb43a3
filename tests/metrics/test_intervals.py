"""Intervals against textbook formulas, and whether they hold what they promise."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import scipy.stats

from actstore.metrics import METRICS
from actstore.metrics.blocks import spans_of
from actstore.metrics.running.intervals import delete_a_group, jackknife_over_texts
from actstore.metrics.statistics import per_text, per_token
from tests.metrics.metric_blocks import pooled_blocks


def test_the_interval_of_a_mean_is_students(rng: np.random.Generator) -> None:
    values = rng.normal(5, 2, size=40)
    found = jackknife_over_texts(per_text(np.arange(40), values))
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.how == "jackknife over texts, 95%"


def test_texts_without_a_number_do_not_widen_it(rng: np.random.Generator) -> None:
    values = rng.normal(size=30)
    with_gaps = np.insert(values, [3, 11], np.nan)
    found = jackknife_over_texts(per_text(np.arange(32), with_gaps))
    assert found == pytest.approx(
        jackknife_over_texts(per_text(np.arange(30), values)), nan_ok=True
    )


def test_tokens_of_one_text_count_as_one_observation(rng: np.random.Generator) -> None:
    """Repeating every token ten times tells nothing new."""
    lengths = rng.integers(1, 9, size=25)
    values = rng.normal(size=lengths.sum())
    once = per_token(np.arange(25), spans_of(lengths), values)
    often = per_token(np.arange(25), spans_of(lengths * 10), np.repeat(values, 10))
    assert jackknife_over_texts(once)[:2] == pytest.approx(jackknife_over_texts(often)[:2])


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_texts_have_none(n: int) -> None:
    found = jackknife_over_texts(per_text(np.arange(n), np.ones(n)))
    assert np.isnan(found.low)
    assert found.how == ""


def grouped(name: str, rows: Any, n_groups: int) -> Any:
    metric = METRICS[name]
    cuts = [len(rows) * i // n_groups for i in range(1, n_groups)]
    parts = [metric.chunk(block) for block in pooled_blocks(rows, cuts)]
    return metric, dict(enumerate(parts))


def test_leaving_out_groups_is_leaving_out_rows(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(60, 8)) * np.geomspace(3, 0.3, 8)
    metric, groups = grouped("participation_ratio", rows, 6)
    found = delete_a_group(metric, groups)
    without = []
    for i in range(6):
        [block] = pooled_blocks(np.delete(rows, range(10 * i, 10 * i + 10), axis=0), [])
        without.append(metric.finalize(metric.chunk(block)))
    error = np.sqrt(5 / 6 * np.square(np.array(without) - np.mean(without)).sum())
    value = metric.finalize(functools.reduce(metric.combine, groups.values()))
    width = scipy.stats.t.ppf(0.975, 5) * error
    assert found[:2] == pytest.approx((value - width, value + width))
    assert found.how == "jackknife over 6 groups of texts, 95%"


def test_two_groups_are_enough_and_one_is_not(rng: np.random.Generator) -> None:
    metric, groups = grouped("mean_cosine", rng.normal(size=(40, 4)), 2)
    assert np.isfinite(delete_a_group(metric, groups)[:2]).all()
    assert np.isnan(delete_a_group(metric, {0: groups[0]}).low)


def test_intervals_hold_the_true_value_about_as_often_as_they_say(
    rng: np.random.Generator,
) -> None:
    """The variance's share of the first axis of a known Gaussian, in 200 samples."""
    deviations = np.array([2.0, 1.0, 1.0, 0.5])
    true = deviations[0] ** 2 / np.square(deviations).sum()
    held = 0
    for _ in range(200):
        metric, groups = grouped("top_pc_share", rng.normal(size=(400, 4)) * deviations, 20)
        low, high, _ = delete_a_group(metric, groups)
        held += low <= true <= high
    assert 180 <= held <= 199
