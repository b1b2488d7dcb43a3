"""Reports: figures and tables drawn from the scores and metrics in a store, and comparisons.

Names are loaded on first use: comparing tables takes no matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actstore.report.analysis import analysis_table, analysis_tables
    from actstore.report.analysis_query import AnalysisQuery
    from actstore.report.compare import OurScores
    from actstore.report.comparison import Comparison
    from actstore.report.correlation import CorrelationRequest, correlate
    from actstore.report.figures import heatmap, layer_curves
    from actstore.report.grids import Grid
    from actstore.report.html.write import write_report
    from actstore.report.published import Reading
    from actstore.report.table_files import write_tables

__all__ = [
    "AnalysisQuery",
    "Comparison",
    "CorrelationRequest",
    "Grid",
    "OurScores",
    "Reading",
    "analysis_table",
    "analysis_tables",
    "correlate",
    "heatmap",
    "layer_curves",
    "write_report",
    "write_tables",
]

_WHERE = {
    "AnalysisQuery": "analysis_query",
    "Comparison": "comparison",
    "CorrelationRequest": "correlation",
    "OurScores": "compare",
    "Reading": "published",
    "analysis_table": "analysis",
    "analysis_tables": "analysis",
    "correlate": "correlation",
    "heatmap": "figures",
    "layer_curves": "figures",
    "write_report": "html.write",
    "write_tables": "table_files",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'actstore.report' has no attribute {name!r}")
    return getattr(import_module(f"actstore.report.{_WHERE.get(name, 'grids')}"), name)
