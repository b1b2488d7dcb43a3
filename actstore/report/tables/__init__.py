"""Tables for analysis: pure functions from score and metric tables to tables.

A grid with gaps is said to have them: a mean over fewer tasks never stands next to one over more.
"""

from actstore.report.tables.arms import arm_summary, best_layers, layer_profile
from actstore.report.tables.coverage import (
    comparable_slices,
    coverage_by_layer,
    coverage_by_task,
    metric_availability,
)
from actstore.report.tables.state_scores import Gaps, StateScores, by_state, whole_grid
from actstore.report.tables.tasks import sub_metrics, task_sensitivity
from actstore.report.tables.training import checkpoint_trend, checkpoint_trend_wide, trend_slopes
from actstore.report.tables.wins import Baseline, win_rate

__all__ = [
    "Baseline",
    "Gaps",
    "StateScores",
    "arm_summary",
    "best_layers",
    "by_state",
    "checkpoint_trend",
    "checkpoint_trend_wide",
    "comparable_slices",
    "coverage_by_layer",
    "coverage_by_task",
    "layer_profile",
    "metric_availability",
    "sub_metrics",
    "task_sensitivity",
    "trend_slopes",
    "whole_grid",
    "win_rate",
]
