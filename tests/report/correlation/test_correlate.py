"""Correlations of metrics with scores, from tables to a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from actstore.errors import InvalidInputError
from actstore.report.correlation import (
    Correction,
    CorrelationRequest,
    Method,
    Scope,
    adjusted,
    correlate,
    to_xarray,
)
from tests.report.tables.made_scores import CHECKPOINTS, cell, made_scores

QUICK = CorrelationRequest(surrogates=39)
RNG = np.random.default_rng(0)
VALUES = RNG.uniform(size=(4, 8, 3))
METRIC = RNG.uniform(size=(4, 8))
ALL = {"over": "all", "method": "spearman"}


def made_metrics(values: np.ndarray, metric: str = "rank") -> pd.DataFrame:
    rows = [
        ("someone/small", CHECKPOINTS[c], layer, metric, "pool", value)
        for (c, layer), value in np.ndenumerate(values)
    ]
    columns = ["model", "checkpoint", "layer", "metric", "source", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_scopes_are_over_arms_over_layers_and_over_checkpoints() -> None:
    metric = np.vstack([METRIC, METRIC[:1]])[:4]
    table = correlate(made_metrics(metric), made_scores(VALUES), QUICK)
    means = VALUES.mean(axis=2)
    arms = cell(table, scope="arms", **ALL)
    assert arms["value"] == pytest.approx(stats.spearmanr(metric.ravel(), means.ravel()).statistic)
    assert (arms["n"], arms["n_checkpoints"], arms["n_layers"], arms["left_out"]) == (32, 4, 8, 0)
    by_line = [stats.spearmanr(a, b).statistic for a, b in zip(metric, means, strict=True)]
    assert cell(table, scope="layers", at="", **ALL)["value"] == pytest.approx(np.mean(by_line))
    one = cell(table, scope="layers", at="step100", **ALL)
    assert one["value"] == pytest.approx(by_line[2])
    assert (one["n"], one["n_checkpoints"], one["n_layers"]) == (8, 1, 8)


def test_series_of_fewer_than_five_arms_have_no_coefficient() -> None:
    table = correlate(made_metrics(METRIC), made_scores(VALUES), QUICK)
    across = table[table["scope"] == "checkpoints"]
    assert across[["value", "low", "high", "p", "p_adjusted"]].isna().all(axis=None)
    assert set(across["at"]) == {"", *map(str, range(8))}


def test_targets_are_all_tasks_types_and_tasks() -> None:
    table = correlate(made_metrics(METRIC), made_scores(VALUES), QUICK)
    targets = table[["over", "target"]].drop_duplicates().values.tolist()
    assert sorted(targets) == [
        ["all", "all tasks"], ["task", "Groups"], ["task", "Modules"], ["task", "Names"],
        ["type", "Classification"], ["type", "Clustering"],
    ]  # fmt: skip
    found = cell(table, target="Names", scope="arms", method="kendall")["value"]
    expected = stats.kendalltau(METRIC.ravel(), VALUES[..., 2].ravel()).statistic
    assert found == pytest.approx(expected)


def test_a_gap_costs_its_checkpoint_or_layer_and_is_said() -> None:
    metric = METRIC.copy()
    metric[:, 0] = np.nan  # as a metric against the previous layer
    scores = VALUES.copy()
    scores[1, 5, 2] = np.nan  # Names
    table = correlate(made_metrics(metric), made_scores(scores), QUICK)
    whole = cell(table, target="Groups", scope="arms", method="pearson")
    assert (whole["n"], whole["left_out"]) == (28, 0)
    gapped = cell(table, scope="arms", over="all", method="pearson")
    assert (gapped["n"], gapped["n_layers"], gapped["left_out"]) == (24, 6, 3)
    layers = [1, 2, 3, 4, 6, 7]
    expected = stats.pearsonr(metric[:, layers].ravel(), VALUES.mean(axis=2)[:, layers].ravel())
    assert gapped["value"] == pytest.approx(expected.statistic)


def test_a_metric_does_not_change_what_is_drawn_for_another() -> None:
    scores = made_scores(VALUES)
    two = pd.concat([made_metrics(METRIC), made_metrics(METRIC**2 + VALUES[..., 0], "bend")])
    alone = correlate(two[two["metric"] == "bend"], scores, QUICK)
    both = correlate(two, scores, QUICK)
    columns = ["value", "expected", "low", "high", "p"]
    again = both[both["metric"] == "bend"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again[columns], alone[columns])
    other = correlate(two, scores, CorrelationRequest(surrogates=39, seed=1))
    assert not np.array_equal(other["expected"], both["expected"], equal_nan=True)


def test_p_values_are_adjusted_within_a_scope_and_method() -> None:
    request = CorrelationRequest(surrogates=39, correction=Correction.HOLM)
    table = correlate(made_metrics(METRIC), made_scores(VALUES), request)
    part = table[(table["scope"] == "layers") & (table["method"] == "dcor") & (table["at"] != "")]
    assert len(part) == 6 * 4
    expected = adjusted(part["p"].to_numpy(), Correction.HOLM)
    assert part["p_adjusted"].tolist() == expected.tolist()
    assert (part["p"] >= 1 / 40).all()


def test_a_strong_relation_is_found_and_its_interval_leaves_out_none() -> None:
    metric = VALUES.mean(axis=2) + RNG.normal(0, 0.02, (4, 8))
    request = CorrelationRequest(scopes=(Scope.ARMS,), surrogates=99)
    table = correlate(made_metrics(metric), made_scores(VALUES), request)
    found = table[table["over"] == "all"].set_index("method")
    assert (found["p"] <= 0.02).all()
    assert (found["value"] > found["expected"] + 0.3).all()
    signed = found.drop(index="dcor")
    assert (signed["low"] > 0).all()
    assert ((signed["low"] < signed["value"]) & (signed["value"] < signed["high"])).all()
    assert np.isnan(found.loc["dcor", "low"])


def test_the_table_becomes_an_xarray() -> None:
    table = correlate(made_metrics(METRIC), made_scores(VALUES), QUICK)
    found = to_xarray(table)
    one = cell(table, target="Groups", scope="layers", at="step10", method="dcor")
    place = {"target": "Groups", "scope": "layers", "at": "step10", "method": "dcor"}
    assert float(found["value"].sel(place).squeeze()) == one["value"]
    assert found["over"].sel(target="Groups").item() == "task"
    assert found["value"].dims == (
        "model", "pooling", "transform", "metric", "source", "target", "scope", "at", "method",
    )  # fmt: skip


def test_nothing_in_common_and_other_tables_are_said() -> None:
    scores = made_scores(VALUES)
    with pytest.raises(InvalidInputError, match="No checkpoint and layer has both"):
        correlate(made_metrics(METRIC).assign(model="another"), scores, QUICK)
    twice = pd.concat([made_metrics(METRIC)] * 2)
    with pytest.raises(InvalidInputError, match="rank from pool has two values at step0, layer 0"):
        correlate(twice, scores, QUICK)
    with pytest.raises(InvalidInputError, match="no source.*Store.metric_table"):
        correlate(made_metrics(METRIC).drop(columns="source"), scores, QUICK)


@pytest.mark.parametrize("method", Method)
def test_a_constant_metric_correlates_with_nothing(method: Method) -> None:
    request = CorrelationRequest(methods=(method,), surrogates=19)
    table = correlate(made_metrics(np.ones((4, 8))), made_scores(VALUES), request)
    assert table["value"].isna().all()
