"""The coefficients, against libraries and closed forms."""

from __future__ import annotations

from itertools import product

import dcor
import numpy as np
import pytest
from scipy import stats

from actstore.report.correlation.coefficients import Method, coefficients

LIBRARIES = {
    Method.PEARSON: lambda x, y: stats.pearsonr(x, y).statistic,
    Method.SPEARMAN: lambda x, y: stats.spearmanr(x, y).statistic,
    Method.KENDALL: lambda x, y: stats.kendalltau(x, y, variant="b").statistic,
    Method.DISTANCE: lambda x, y: dcor.distance_correlation(x, y),
}


@pytest.mark.parametrize(("method", "ties"), [*product(Method, [False, True])])
def test_each_is_what_the_library_gives(method: Method, ties: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 20)), rng.normal(size=(2, 20))
    y[0] += x[0]
    if ties:
        x, y = x.round(), y.round()
    expected = [[LIBRARIES[method](a, b) for b in y] for a in x]
    assert coefficients(method, x, y) == pytest.approx(np.array(expected), abs=1e-12)
    assert coefficients(method, x, y, np.float32) == pytest.approx(np.array(expected), abs=1e-5)


def test_a_parabola_is_seen_by_distance_correlation_alone() -> None:
    x = np.arange(-10.0, 11)[None]
    values = {method: coefficients(method, x, x**2)[0, 0] for method in Method}
    assert values[Method.DISTANCE] > 0.4
    assert [values[m] for m in Method if m is not Method.DISTANCE] == pytest.approx([0] * 3)


@pytest.mark.parametrize("method", Method)
def test_an_increasing_line_has_one_and_a_constant_none(method: Method) -> None:
    line = np.linspace(2, 3, 9)[None]
    assert coefficients(method, line, 5 * line)[0, 0] == pytest.approx(1)
    assert np.isnan(coefficients(method, line, np.full((1, 9), 0.1))).all()


@pytest.mark.parametrize("method", Method)
def test_many_series_are_what_each_is_alone(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 7, 12))
    whole = coefficients(method, x, y)
    monkeypatch.setattr("actstore.report.correlation.coefficients._CHUNK", 200)
    alone = [coefficients(method, one[None], y)[0] for one in x]
    assert coefficients(method, x, y) == pytest.approx(whole, abs=1e-12)
    assert np.array(alone) == pytest.approx(whole, abs=1e-12)
