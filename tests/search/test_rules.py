"""Rules that need no scores, and how they are judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.search.judging import agreement
from actstore.search.rules import RULES, choose, in_order, metric_grid, pass_score, rate

NAMES = sorted({name for rule in RULES.values() for name in rule.needs})
INDEX = pd.MultiIndex.from_product([["step1", "step8", "step64", "main"], range(6)])
INDEX.names = ["checkpoint", "layer"]


@pytest.fixture
def grid() -> pd.DataFrame:
    values = np.random.default_rng(0).uniform(0.1, 1, (24, len(NAMES)))
    return pd.DataFrame(values, INDEX, NAMES)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_rates_arms_by_what_it_says_it_needs(rule: str, grid: pd.DataFrame) -> None:
    needed = grid[list(RULES[rule].needs)]
    pd.testing.assert_series_equal(rate(rule, grid), rate(rule, needed))
    for name in RULES[rule].needs:
        with pytest.raises(UnknownNameError, match=name):
            rate(rule, grid.drop(columns=name))


@pytest.mark.parametrize("rule", RULES)
def test_an_arm_without_a_metric_is_not_rated(rule: str, grid: pd.DataFrame) -> None:
    checkpoint, layer = choose(rule, grid)
    grid.loc[(checkpoint, layer), RULES[rule].needs[0]] = np.nan
    assert np.isnan(rate(rule, grid)[checkpoint, layer])
    assert choose(rule, grid) != (checkpoint, layer)


@pytest.mark.parametrize("rule", RULES)
def test_of_equals_the_earliest_and_lowest_is_named(rule: str, grid: pd.DataFrame) -> None:
    grid[:] = 1.0
    assert choose(rule, grid) == ("step1", 0)


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"dispersion"}))
def test_better_uniformity_or_entropy_is_rated_higher(rule: str, grid: pd.DataFrame) -> None:
    grid[:] = 0.5
    grid += np.random.default_rng(1).uniform(0, 1e-3, grid.shape)
    arm = ("step64", 3)
    grid.loc[arm, ["uniformity", "alignment", "infonce"]] = 0.1
    grid.loc[arm, ["dispersion", "dataset_entropy", "dime", "rankme"]] = 0.9
    if rule == "pass":  # a RankMe that changes is no stable phase
        grid["rankme"] = 0.5
    assert choose(rule, grid) == arm


def test_pass_is_the_sum_of_its_robust_scores(grid: pd.DataFrame) -> None:
    def z(values: np.ndarray) -> np.ndarray:
        centred = values - np.median(values)
        return np.asarray(centred / np.median(np.abs(centred)))

    shaped = {name: grid[name].to_numpy().reshape(4, 6) for name in grid}
    change = {
        name: np.diff(shaped[name], axis=0, prepend=shaped[name][:1])
        for name in ("spectral_slope", "rankme", "dispersion")
    }
    phase = 1 / (1 + np.exp(-change["spectral_slope"] / 0.1))
    phase = phase / (1 + np.exp(change["rankme"] / 0.01))
    volatility = sum(np.abs(one) for one in change.values())
    expected = (
        z(shaped["dispersion"])
        + 0.75 * z(-shaped["uniformity"])
        - 0.75 * z(shaped["alignment"])
        + z(phase)
        - 0.5 * z(volatility)
    )
    np.testing.assert_allclose(pass_score(grid).to_numpy().reshape(4, 6), expected)


def test_the_grid_of_a_store_prefers_the_source_that_is_asked_for() -> None:
    rows = [
        ("m", "main", 0, "dispersion", "mean_pool/sample=9", 0.9),
        ("m", "main", 0, "dispersion", "mean_pool", 0.5),
        ("m", "main", 0, "alignment", "mean_pool/views=default", 0.2),
        ("m", "step2", 0, "dispersion", "mean_pool", 0.4),
        ("m", "main", 0, "rankme", "last_pool", 7.0),
        ("other", "main", 0, "dispersion", "mean_pool", 0.1),
    ]
    columns = ["model", "checkpoint", "layer", "metric", "source", "value"]
    table = pd.DataFrame(rows, columns=columns)
    found = metric_grid(table, "m", "mean_pool")
    assert list(found.index) == [("step2", 0), ("main", 0)]
    assert found.loc[("main", 0)].to_dict() == {"dispersion": 0.5, "alignment": 0.2}
    with pytest.raises(UnknownNameError, match="max_pool"):
        metric_grid(table, "m", "max_pool")
    assert list(in_order(found.iloc[::-1]).index) == list(found.index)


def test_a_perfect_rating_has_no_gap_and_a_reversed_one_the_largest() -> None:
    scores = pd.Series(np.linspace(0.2, 0.6, 24), INDEX)
    perfect, reversed_ = agreement(scores * 3, scores), agreement(-scores, scores)
    assert (perfect.gap, perfect.spearman, perfect.kendall) == (0, pytest.approx(1), 1)
    assert perfect.ndcg[5] == pytest.approx(1)
    assert perfect.hits == {1: True, 5: True, 10: True}
    assert reversed_.gap == pytest.approx(0.4)
    assert reversed_.spearman == pytest.approx(-1)
    assert reversed_.ndcg[1] == 0
    assert not any(reversed_.hits.values())


def test_a_rule_is_held_to_the_best_of_all_also_where_it_does_not_rate_it() -> None:
    scores = pd.Series(np.linspace(0.2, 0.6, 24), INDEX)
    found = agreement(scores.iloc[:10], scores)
    assert found.n == 10
    assert found.gap == pytest.approx(scores.iloc[23] - scores.iloc[9])
    assert not found.hits[10]
    assert np.isnan(agreement(scores * 0, scores).spearman)
    with pytest.raises(InvalidInputError, match="1 arms have a rating"):
        agreement(scores.iloc[:1], scores)
