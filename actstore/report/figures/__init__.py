"""Figures of what a store holds, and of a grid. Nothing here touches pyplot or global settings."""

from __future__ import annotations

from actstore.report.figures import (  # registers the kinds, in the order they are listed
    arms,
    correlations,
    lens,
    metrics,
    scores,
    states,
    texts,
    variants,
)
from actstore.report.figures.data import Choice, Data
from actstore.report.figures.grid_figures import heatmap, layer_curves
from actstore.report.figures.listing import Listing, draw_to, list_kinds, width_of
from actstore.report.figures.registry import FIGURES, Kind, Need, figure_kind
from actstore.report.figures.style import COLUMN, TEXT, save
from actstore.report.figures.texts import texts_by_value

__all__ = [
    "COLUMN",
    "FIGURES",
    "TEXT",
    "Choice",
    "Data",
    "Kind",
    "Listing",
    "Need",
    "arms",
    "correlations",
    "draw_to",
    "figure_kind",
    "heatmap",
    "layer_curves",
    "lens",
    "list_kinds",
    "metrics",
    "save",
    "scores",
    "states",
    "texts",
    "texts_by_value",
    "variants",
    "width_of",
]
