"""Control prompts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from actstore.metrics.lens.control import answer_logit_gap, control_margin, control_summary

NAN = float("nan")


def test_the_margin_is_what_the_controls_answer_has_over_the_prompts() -> None:
    paris, berlin = np.array([0.1, 0.2, 0.9], np.float32), np.array([0.3, 0.2, 0.05], np.float32)
    margin = control_margin(paris, berlin)
    assert margin.dtype == np.float64
    assert margin == pytest.approx([-0.2, 0.0, 0.85], abs=1e-7)


def test_only_an_answer_ranked_first_has_a_gap() -> None:
    gap = answer_logit_gap(
        np.array([1.0, 2.0, NAN, 1.0]), np.array([3.0, 2.0, 1.0, 5.0]), np.array([2.5, 2.0, 0.0, 5])
    )
    np.testing.assert_array_equal(gap, [0.5, NAN, NAN, 0.0])


def test_milestones_of_a_control_prompt() -> None:
    margin = np.array([-0.1, 0.0, 0.2, 0.9, 0.7])
    gap = np.array([NAN, NAN, 0.4, 0.5, 2.0])
    found = control_summary(margin, (0, 6, 12, 18, 24), gap)
    assert found.first_control_margin_pos == 12  # 0 is not above 0
    assert found.max_control_margin == 0.9
    assert found.first_control_strong_pos == 18


def test_without_a_gap_nothing_is_strong_and_without_a_margin_nothing_is_known() -> None:
    assert control_summary(np.array([0.3]), (0,)).first_control_strong_pos is None
    unknown = control_summary(np.array([NAN, NAN]), (0, 1))
    assert unknown.first_control_margin_pos is None
    assert np.isnan(unknown.max_control_margin)


def test_a_first_margin_behind_an_unknown_one_is_unknown() -> None:
    found = control_summary(np.array([NAN, 0.5]), (0, 1))
    assert found.first_control_margin_pos is None
    assert found.max_control_margin == 0.5
