"""Laws that hold for every metric that is registered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actstore.errors import UnknownNameError
from actstore.metrics import METRICS, Metric, all_metrics, list_metrics, register, resolve_metrics
from actstore.metrics.blocks import LensBlock
from actstore.metrics.registry import Invariance
from actstore.metrics.statistics import Rows
from tests.metrics.metric_blocks import lens_blocks, linear_head, pooled_blocks, token_blocks

every_metric = pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: m.name)


def value(metric: Metric[Any, Any], blocks: list[Any]) -> float:
    return metric.finalize(functools.reduce(metric.combine, map(metric.chunk, blocks)))


@every_metric
@pytest.mark.parametrize("cuts", [[1], [30], [1, 2, 3], [7, 19, 20, 41], list(range(1, 60))])
def test_any_split_of_the_rows_gives_the_same_number(
    metric: Metric[Any, Any], cuts: list[int], blocks_of: Callable[..., Any]
) -> None:
    whole = value(metric, blocks_of(metric, 60, []))
    assert np.isfinite(whole)
    assert value(metric, blocks_of(metric, 60, cuts)) == pytest.approx(whole, rel=1e-10, abs=1e-12)


@every_metric
def test_fewer_rows_than_dimensions_may_be_split_too(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    whole = value(metric, blocks_of(metric, 9, []))
    assert np.isfinite(whole)
    assert value(metric, blocks_of(metric, 9, [2, 5])) == pytest.approx(whole, rel=1e-10, abs=1e-12)


@every_metric
@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_tree_of_merges_gives_the_same_number(
    metric: Metric[Any, Any], seed: int, blocks_of: Callable[..., Any]
) -> None:
    whole = value(metric, blocks_of(metric, 60, []))
    stats = [metric.chunk(block) for block in blocks_of(metric, 60, [3, 9, 22, 23, 40, 55])]
    rng = np.random.default_rng(seed)
    while len(stats) > 1:
        a = stats.pop(rng.integers(len(stats)))
        b = stats.pop(rng.integers(len(stats)))
        stats.append(metric.combine(a, b))
    assert metric.finalize(stats[0]) == pytest.approx(whole, rel=1e-10, abs=1e-12)


def orthogonal(states: NDArray[Any]) -> NDArray[Any]:
    q, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(states.shape[-1],) * 2))
    return states @ q


def scaled(states: NDArray[Any]) -> NDArray[Any]:
    return states.astype(np.float64) * 7.3


def row_scaled(states: NDArray[Any]) -> NDArray[Any]:
    factors = np.random.default_rng(6).uniform(0.2, 5, size=(*states.shape[:-1], 1))
    return states.astype(np.float64) * factors


def translated(states: NDArray[Any]) -> NDArray[Any]:
    shift = np.random.default_rng(7).uniform(1, 2, size=states.shape[-1])
    return states + shift * np.abs(states).mean(axis=tuple(range(states.ndim - 1)))


CHANGES = {
    "rotation": orthogonal,
    "scaling": scaled,
    "row scaling": row_scaled,
    "translation": translated,
}


@pytest.mark.parametrize("change", CHANGES)
@every_metric
def test_invariances_are_those_that_are_told(
    metric: Metric[Any, Any], change: Invariance, blocks_of: Callable[..., Any]
) -> None:
    before = value(metric, blocks_of(metric, 60, []))
    after = value(metric, blocks_of(metric, 60, [], CHANGES[change]))
    if change in metric.invariant_to:
        assert after == pytest.approx(before, rel=1e-6, abs=1e-9)
    elif metric.over != "lens":
        assert after != pytest.approx(before, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("metric", [m for m in all_metrics() if m.over == "tokens"])
def test_the_order_of_tokens_matters_where_it_is_told(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    before = value(metric, blocks_of(metric, 60, []))
    shuffled = value(metric, blocks_of(metric, 60, [], _shuffled))
    assert (shuffled != pytest.approx(before, rel=1e-9)) == metric.ordered


def _shuffled(text: NDArray[Any]) -> NDArray[Any]:
    return text[np.random.default_rng(8).permutation(len(text))]


@every_metric
def test_rows_may_come_in_any_order(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    """Each row is a block of its own here; they keep their numbers."""
    blocks = blocks_of(metric, 40, list(range(1, 40)))
    shuffled = [blocks[i] for i in np.random.default_rng(9).permutation(len(blocks))]
    assert value(metric, shuffled) == pytest.approx(value(metric, blocks), rel=1e-10, abs=1e-12)


@every_metric
def test_counts_add_up_to_the_rows_given(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    blocks = blocks_of(metric, 60, [11, 37])
    stats = functools.reduce(metric.combine, map(metric.chunk, blocks))
    assert stats.n + stats.n_undefined == 60
    assert stats.n > 50


@every_metric
def test_statistics_are_float64_whatever_the_rows_are(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    stats = metric.chunk(blocks_of(metric, 20, [])[0])
    arrays = [v for v in vars(stats).values() if isinstance(v, np.ndarray)]
    floats = [v for v in vars(stats).values() if isinstance(v, float)]
    sums = [array for array in arrays if array.dtype.kind == "f"]
    assert all(array.dtype == np.float64 for array in sums) or isinstance(stats, Rows)
    assert sums or floats


@every_metric
def test_rows_that_are_not_finite_never_give_a_number_that_looks_right(
    metric: Metric[Any, Any], blocks_of: Callable[..., Any]
) -> None:
    [block] = blocks_of(metric, 20, [])
    if isinstance(block, LensBlock):
        nothing = {name: np.full_like(v, np.nan) for name, v in block.values.items()}
        broken = replace(block, values=nothing)
    else:
        broken = replace(block, states=np.full_like(block.states, np.nan))
    stats = metric.chunk(broken)
    assert np.isnan(metric.finalize(stats))
    assert stats.degenerate


@pytest.mark.parametrize("metric", [m for m in all_metrics() if m.over == "pooled"])
def test_one_row_has_no_value_but_a_count(metric: Metric[Any, Any], rng: Any) -> None:
    stats = metric.chunk(pooled_blocks(rng.normal(size=(1, 8)), [])[0])
    assert np.isnan(metric.finalize(stats))
    assert stats.degenerate
    assert stats.n + stats.n_undefined == 1


@pytest.mark.parametrize("name", [m.name for m in all_metrics() if m.needs_mean])
def test_metrics_of_directions_leave_out_rows_without_one(name: str, rng: Any) -> None:
    rows = rng.normal(size=(21, 8))
    rows[0] = rows[1:].mean(axis=0)
    metric = METRICS[name]
    stats = metric.chunk(pooled_blocks(rows, [])[0])
    assert (stats.n, stats.n_undefined) == (20, 1)
    assert np.isfinite(metric.finalize(stats))


@pytest.mark.parametrize(
    "name", ["dataset_entropy", "effective_rank", "participation_ratio", "top_pc_share"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cuts", [[], [3]])
def test_constant_rows_have_no_spread_to_measure(
    name: str, dtype: type, cuts: list[int], rng: Any
) -> None:
    rows = np.tile(rng.normal(size=12).astype(dtype), (10, 1))
    blocks = pooled_blocks(rows, cuts)
    assert np.isnan(value(METRICS[name], blocks))


@pytest.mark.parametrize("metric", [m for m in all_metrics() if m.over == "tokens"])
def test_texts_of_one_token_are_counted_and_left_out(metric: Metric[Any, Any], rng: Any) -> None:
    long, short = rng.normal(size=(6, 8)), rng.normal(size=(1, 8))
    only_short = metric.chunk(token_blocks([short, short], [])[0])
    assert np.isnan(metric.finalize(only_short))
    assert (only_short.n, only_short.n_undefined) == (0, 2)
    both = metric.chunk(token_blocks([short, long], [])[0])
    alone = metric.chunk(token_blocks([long], [])[0])
    assert (both.n, both.n_undefined) == (1, 1)
    assert metric.finalize(both) == metric.finalize(alone)


@pytest.mark.parametrize("metric", [m for m in all_metrics() if m.over == "lens"])
def test_tokens_without_finite_logits_are_counted_and_left_out(
    metric: Metric[Any, Any], rng: Any
) -> None:
    states, final = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    head = linear_head(rng.normal(size=(8, 40)))
    kept = metric.finalize(metric.chunk(lens_blocks(states[1:], final[1:], head, [])[0]))
    states[0] = np.nan
    stats = metric.chunk(lens_blocks(states, final, head, [])[0])
    assert (stats.n, stats.n_undefined) == (4, 1)
    assert metric.finalize(stats) == pytest.approx(kept)


def test_an_unknown_metric_names_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownNameError, match=r"'effective_rank'.*actstore metrics --list"):
        resolve_metrics(["curvature", "efective_rank"])


def test_metrics_asked_for_twice_are_measured_once() -> None:
    names = [m.name for m in resolve_metrics(["curvature", "lens_entropy", "curvature"])]
    assert names == ["curvature", "lens_entropy"]


def test_a_name_can_be_registered_once_only() -> None:
    before = dict(METRICS)
    with pytest.raises(RuntimeError, match="registered twice"):
        register(METRICS["curvature"])
    assert before == METRICS


def test_metrics_with_the_same_chunk_merge_alike() -> None:
    """They share one statistic, so they must not disagree on how it is merged."""
    merges: dict[Any, Any] = {}
    for metric in all_metrics():
        assert merges.setdefault(metric.chunk, metric.combine) is metric.combine


@every_metric
def test_every_metric_says_what_it_is(metric: Metric[Any, Any]) -> None:
    assert metric.reference
    assert metric.unit
    assert metric.range
    assert metric.formula
    assert metric.cost
    assert metric.quantities or metric.over != "lens"
    assert metric.description
    assert "\n" not in metric.description


def test_the_list_for_people_has_a_line_for_every_metric() -> None:
    lines = list_metrics()
    assert {line[0] for line in lines} == set(METRICS)
    [line] = [line for line in lines if line[0] == "curvature"]
    assert line[1:3] == ("tokens", "radians")
    assert "Hosseini" in line[4]
