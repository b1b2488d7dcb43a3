from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from actstore.store.texts.distinct import distinct, rate

NOW = 1e6


def test_rows_that_differ_in_some_columns_are_kept_once_in_their_order() -> None:
    table = pa.table(
        {
            "at": [1.0, 2.0, 3.0, 4.0, 5.0],
            "a": ["x", "y", "x", None, None],
            "b": [1, 1, 1, 1, 2],
        }
    )
    assert distinct(table, ["a", "b"])["at"].to_pylist() == [1.0, 2.0, 4.0, 5.0]
    assert distinct(table, ["b"])["at"].to_pylist() == [1.0, 5.0]
    assert len(distinct(table.slice(0, 0), ["a", "b"])) == 0


def test_many_columns_of_many_values_do_not_overflow() -> None:
    columns = {f"c{i}": [f"{i}-{j}" for j in range(1000)] for i in range(12)}
    assert len(distinct(pa.table(columns), list(columns))) == 1000


def test_a_rate_needs_two_moments() -> None:
    assert rate(np.array([]), NOW) is None
    assert rate(np.array([NOW - 5, NOW - 5]), NOW) is None
    assert rate(np.array([NOW - 9000, NOW - 8000]), NOW) is None


def test_what_the_first_moment_brought_was_made_before_it() -> None:
    at = np.array([NOW - 20] * 50 + [NOW - 10] * 10 + [NOW] * 10)
    assert rate(at, NOW) == pytest.approx(1.0)


def test_what_comes_seldom_is_looked_at_for_longer() -> None:
    assert rate(np.array([NOW - 2000, NOW - 1000, NOW]), NOW) == pytest.approx(1e-3)
