"""Reports: figures and tables drawn from the scores and metrics in a store."""

from __future__ import annotations

from actstore.report.figures import heatmap, layer_curves
from actstore.report.grids import (
    Grid,
    best_layers,
    best_per_task,
    mean_grid,
    metric_grids,
    task_grids,
    task_scores,
)
from actstore.report.write import write_report

__all__ = [
    "Grid",
    "best_layers",
    "best_per_task",
    "heatmap",
    "layer_curves",
    "mean_grid",
    "metric_grids",
    "task_grids",
    "task_scores",
    "write_report",
]
