"""Reports: figures and tables drawn from the scores and metrics in a store, and comparisons.

Names are loaded on first use: comparing tables takes no matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actstore.report.compare import OurScores
    from actstore.report.comparison import Comparison
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
    from actstore.report.html.write import write_report
    from actstore.report.published import Reading

__all__ = [
    "Comparison",
    "Grid",
    "OurScores",
    "Reading",
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

_WHERE = {
    "Comparison": "comparison",
    "OurScores": "compare",
    "Reading": "published",
    "heatmap": "figures",
    "layer_curves": "figures",
    "write_report": "html.write",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'actstore.report' has no attribute {name!r}")
    return getattr(import_module(f"actstore.report.{_WHERE.get(name, 'grids')}"), name)
