"""Figures of a grid. Plain Figure objects: nothing here touches pyplot or any global setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actstore.report.grids import Grid

_COLOURS = {"score": "viridis", "metric": "cividis"}
"""Both keep their order for colour-blind readers and in grey."""
_MISSING = "#dddddd"
_MARKERS = "osD^vP*X"
_MAX_TICKS = 16
_MAX_VALUES_SHOWN = 160
_MAX_LEGEND = 8


def heatmap(grid: Grid) -> Figure:
    """Checkpoints from left to right, layers from bottom to top, the number as colour.

    Cells without a number are hatched. Small grids show their numbers. Each checkpoint's highest
    score is bold there, ringed otherwise. Below the axes stands what the marks mean.
    """
    n_checkpoints, n_layers = grid.values.shape
    size = (_within(2.6 + 0.62 * n_checkpoints, 4.6, 11), _within(1.7 + 0.34 * n_layers, 3, 9))
    figure, axes = _figure(size)
    cells = np.ma.masked_invalid(grid.values.T)
    image = axes.imshow(cells, cmap=_COLOURS[grid.kind], aspect="auto", origin="lower")
    axes.set_facecolor(_MISSING)
    axes.patch.set(hatch="////", edgecolor="#999999", linewidth=0)
    _ticks(axes, grid)
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(grid.label)
    if _shows_values(grid):
        _write_values(axes, image, grid)
    elif grid.kind == "score":
        _ring_best(axes, grid.values)
    _titles(axes, grid)
    figure.supxlabel(_key(grid), fontsize=8, x=0.98, ha="right", color="#444444")
    return figure


def layer_curves(grid: Grid) -> Figure:
    """The number against the layer, one line a checkpoint, darker to lighter with training."""
    figure, axes = _figure((7.2, 4.2))
    palette = _training_colours()
    n = len(grid.checkpoints)
    for i, (checkpoint, values) in enumerate(zip(grid.checkpoints, grid.values, strict=True)):
        axes.plot(
            grid.layers,
            values,
            color=palette(i / max(n - 1, 1)),
            marker=_MARKERS[i % len(_MARKERS)] if n <= _MAX_LEGEND else None,
            markersize=5,
            linewidth=1.6,
            label=checkpoint,
        )
    axes.set(xlabel="layer", ylabel=grid.label)
    _titles(axes, grid)
    axes.set_xticks(_some(grid.layers))
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if n <= _MAX_LEGEND:
        figure.legend(loc="outside right center", frameon=False, title="checkpoint")
    else:
        _training_bar(figure, axes, palette, grid.checkpoints)
    return figure


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _shows_values(grid: Grid) -> bool:
    return grid.values.size <= _MAX_VALUES_SHOWN


def _key(grid: Grid) -> str:
    """What the marks of a heatmap mean."""
    best = "bold" if _shows_values(grid) else "ring"
    parts = [f"{best}: best layer of a checkpoint"] if grid.kind == "score" else []
    if grid.n_missing:
        parts.append(f"hatched: no value ({grid.n_missing} of {grid.values.size})")
    return "; ".join(parts)


def _titles(axes: Axes, grid: Grid) -> None:
    axes.set_title(grid.title, loc="left", fontweight="bold", fontsize=11)
    about = f"{grid.model} · {grid.source}"
    axes.set_title(about, loc="right", fontsize=8.5, color="#444444")


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _ticks(axes: Axes, grid: Grid) -> None:
    columns, rows = _some(range(len(grid.checkpoints))), _some(range(len(grid.layers)))
    names = [grid.checkpoints[i] for i in columns]
    crowded = sum(map(len, names)) > 60 or max(map(len, names)) > 9
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(columns, names, **(slant if crowded else {}))
    axes.set_yticks(rows, [str(grid.layers[i]) for i in rows])
    axes.set(xlabel="checkpoint", ylabel="layer")
    axes.tick_params(length=2)


def _some(values: Sequence[int]) -> list[int]:
    """At most so many ticks, evenly spaced, the first among them."""
    return list(values[:: math.ceil(len(values) / _MAX_TICKS)])


def _write_values(axes: Axes, image: Any, grid: Grid) -> None:
    digits = _digits(grid.values)
    best = _best(grid.values) if grid.kind == "score" else {}
    for (i, j), value in np.ndenumerate(grid.values):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            i,
            j,
            f"{value:.{digits}f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if dark else "black",
            fontweight="bold" if best.get(i) == j else "normal",
        )


def _digits(values: NDArray[np.float64]) -> int:
    """Decimals that show three figures of the largest value, within 0 .. 4."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 1.0
    return int(_within(2 - math.floor(math.log10(largest)) if largest else 2, 0, 4))


def _best(values: NDArray[np.float64]) -> dict[int, int]:
    """By checkpoint the index of its highest layer; the lowest of equal ones."""
    return {i: int(np.nanargmax(v)) for i, v in enumerate(values) if not np.isnan(v).all()}


def _ring_best(axes: Axes, values: NDArray[np.float64]) -> None:
    columns, rows = zip(*_best(values).items(), strict=True)
    axes.scatter(columns, rows, s=18, facecolors="none", edgecolors="white", linewidths=1.2)
    axes.scatter(columns, rows, s=30, facecolors="none", edgecolors="black", linewidths=0.7)


def _training_colours() -> LinearSegmentedColormap:
    """Viridis without its lightest end, which is hard to see on white."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, 256))
    return LinearSegmentedColormap.from_list("training", shades)


def _training_bar(
    figure: Figure, axes: Axes, palette: LinearSegmentedColormap, names: Sequence[str]
) -> None:
    from matplotlib.cm import ScalarMappable

    last = len(names) - 1
    shades = ScalarMappable(Normalize(0, last), palette)
    ticks = sorted({0, last, *range(0, last, math.ceil(last / 6))})
    bar = figure.colorbar(shades, ax=axes, ticks=ticks, pad=0.02)
    bar.ax.set_yticklabels([names[i] for i in ticks])
    bar.set_label("checkpoint, in training order")
