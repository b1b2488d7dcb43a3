"""Data that no metric was made for: NaN with a reason or a number, never an error or a warning."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actstore.metrics import METRICS, Metric, all_metrics
from tests.metrics.metric_blocks import pair_blocks, pooled_blocks, token_blocks, views_blocks

HIDDEN = 6
OVER_ROWS = [m for m in all_metrics() if m.over in ("pooled", "pairs", "views", "tokens")]
NEED_TWO_DIRECTIONS = {
    "spectral_slope",
    "isoscore",
    "dataset_entropy_logd",
    "dataset_entropy_lognlogd",
    "dataset_entropy_maxentropy",
}
"""Their statistic serves other metrics, which one direction is enough for."""


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def one_broken(value: float) -> NDArray[np.float32]:
    rows = normal(12, HIDDEN)
    rows[5, 2] = value
    return rows


def massive() -> NDArray[np.float32]:
    """As residual streams are: one dimension holds nearly all of the length."""
    rows = normal(40, HIDDEN)
    rows[:, 1] = 3e4 + 100 * rows[:, 1]
    return rows


DATA = {
    "one row": normal(1, HIDDEN),
    "two rows": normal(2, HIDDEN),
    "two equal rows": np.repeat(normal(1, HIDDEN), 2, axis=0),
    "three rows": normal(3, HIDDEN),
    "constant rows": np.repeat(normal(1, HIDDEN), 9, axis=0),
    "zeros": np.zeros((9, HIDDEN), np.float32),
    "one zero row": np.concatenate([normal(9, HIDDEN), np.zeros((1, HIDDEN), np.float32)]),
    "duplicates": np.repeat(normal(5, HIDDEN), 2, axis=0),
    "fewer rows than dimensions": normal(HIDDEN - 2, HIDDEN),
    "a line": normal(12, 1) * normal(1, HIDDEN),
    "one dimension": normal(12, 1),
    "opposite rows": np.concatenate([normal(6, HIDDEN), -normal(6, HIDDEN)]),
    "NaN": one_broken(np.nan),
    "infinite": one_broken(np.inf),
    "very large": 1e30 * normal(12, HIDDEN),
    "very small": 1e-30 * normal(12, HIDDEN),
    "massive": massive(),
    "float16": normal(12, HIDDEN).astype(np.float16),
}


def value_and_statistic(metric: Metric[Any, Any], rows: NDArray[Any]) -> tuple[float, Any]:
    cuts = [len(rows) // 2] if len(rows) > 1 else []
    match metric.over:
        case "pooled":
            blocks: list[Any] = pooled_blocks(rows, cuts)
        case "pairs":
            blocks = pair_blocks(rows, normal(*rows.shape), cuts)
        case "views":
            blocks = views_blocks(np.stack([rows, rows[::-1], rows], axis=1), cuts)
        case _:
            blocks = token_blocks([rows, rows[:1]], [])
    stats = functools.reduce(metric.combine, map(metric.chunk, blocks))
    return metric.finalize(stats), stats


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("metric", OVER_ROWS, ids=lambda m: m.name)
def test_nan_has_a_reason_and_a_number_has_none(metric: Metric[Any, Any], name: str) -> None:
    value, stats = value_and_statistic(metric, DATA[name])
    assert isinstance(value, float)
    if np.isnan(value):
        assert stats.degenerate or metric.name in NEED_TWO_DIRECTIONS
    else:
        assert not stats.degenerate
        assert np.isfinite(value) or "inf" in metric.range


@pytest.mark.parametrize("name", ["NaN", "infinite"])
@pytest.mark.parametrize(
    "metric", [m for m in OVER_ROWS if m.over != "views" or not m.per_text], ids=lambda m: m.name
)
def test_states_that_are_not_finite_give_no_number(metric: Metric[Any, Any], name: str) -> None:
    value, stats = value_and_statistic(metric, DATA[name])
    assert np.isnan(value)
    assert stats.degenerate


@pytest.mark.parametrize(
    "metric", [m for m in OVER_ROWS if m.over == "pooled"], ids=lambda m: m.name
)
def test_small_directions_are_not_lost_beside_massive_ones(metric: Metric[Any, Any]) -> None:
    """float32 rows give what the same numbers give in float64."""
    value, _ = value_and_statistic(metric, massive())
    wide, _ = value_and_statistic(metric, massive().astype(np.float64))
    assert value == wide


def test_a_text_whose_views_are_not_finite_is_counted_and_left_out() -> None:
    value, stats = value_and_statistic(METRICS["alignment"], DATA["NaN"])
    assert np.isfinite(value)
    assert (stats.n, stats.n_undefined) == (10, 2)  # as itself and as another's view


def test_reasons_name_what_is_wrong() -> None:
    said = {
        ("effective_rank", "one row"): "there is only one row",
        ("effective_rank", "constant rows"): "the rows do not vary",
        ("effective_rank", "NaN"): "some states are not finite",
        ("uniformity", "zeros"): "fewer than two rows have a direction",
        ("prompt_entropy", "constant rows"): "no text has two tokens that differ, all finite",
    }
    for (metric, data), reason in said.items():
        assert value_and_statistic(METRICS[metric], DATA[data])[1].degenerate == reason


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 5),
    st.lists(st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e-8, 1e8]), min_size=1, max_size=12),
)
def test_any_small_grid_of_numbers_is_survived(n: int, d: int, pool: list[float]) -> None:
    rows = np.resize(np.array(pool, np.float32), (n, d))
    for metric in OVER_ROWS:
        value, stats = value_and_statistic(metric, rows)
        if stats.degenerate:
            assert np.isnan(value), metric.name
