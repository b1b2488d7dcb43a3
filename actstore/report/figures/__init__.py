"""Figures of what a store holds, and of a grid. Nothing here touches pyplot or global settings."""

from __future__ import annotations

from actstore.report.figures.grid_figures import heatmap, layer_curves

__all__ = ["heatmap", "layer_curves"]
