"""Parts that several kinds of figures are made of: panels, curves by training step, cells."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from actstore.refs import training_step
from actstore.report.figures.data import depth_of, layers_of
from actstore.report.figures.style import HATCH, MISSING, training_colours

_NARROWEST = 1.5
"""Inches that a panel needs."""
_TICKS = 5
_WIDE = 20
_LETTERS = 17
"""That fit in an inch of a heading."""


def one_panel(width: float, height: float | None = None) -> tuple[Figure, Axes]:
    """A figure of one panel; without a height in the golden ratio, at most 4 inches."""
    figure = Figure((width, height or min(width / 1.5, 4)), layout="constrained")
    return figure, figure.add_subplot()


def panels(
    n: int,
    width: float,
    *,
    ratio: float = 0.78,
    share_y: bool = False,
    share_x: bool = True,
    columns: int | None = None,
    head: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels, as many beside each other as can be read, row by row.

    ratio: a panel's height to its width. head: inches above them. Panels in a row that is not full
    stay at the left, and the ones above show their own layers.
    """
    if columns is None:
        most = min(n, max(1, int(width / _NARROWEST)))
        columns = math.ceil(n / math.ceil(n / most))  # five as 3 + 2, not as 4 + 1
    ratio = min(ratio, 0.62) if columns == 1 else ratio
    rows = math.ceil(n / columns)
    height = rows * (ratio * width / columns + 0.15) + 0.3 + head
    figure = Figure((width, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False)
    every = list(grid.flat)
    for axes in every[n:]:
        axes.remove()
    for i in range(n):
        if share_x and i + columns >= n:
            every[i].tick_params(labelbottom=True)
    return figure, every[:n]


def headed(figure: Figure, text: str) -> None:
    """A heading over the whole figure, in lines that are no wider than it is."""
    figure.suptitle("\n".join(textwrap.wrap(text, int(figure.get_figwidth() * _LETTERS))))


def named(name: str, unit: str, most: int = 20) -> str:
    """A metric and its unit in two lines, none longer than a narrow panel if it can be helped."""
    told = f"({unit})" if unit else ""
    if len(name) <= most or "_" not in name:
        return f"{name}\n{told}"
    first, _, rest = name.rpartition("_")
    return f"{first}_\n{rest} {told}"


def x_of(layers: Sequence[int], depth: bool) -> NDArray[np.float64]:
    """Where layers stand: their numbers, or per cent of the depth."""
    return depth_of(layers) if depth else np.asarray(layers, float)


def x_label(depth: bool) -> str:
    return "depth (%)" if depth else "layer"


def layer_ticks(axes: Axes) -> None:
    """Whole numbers only, and few of them."""
    axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))


def few_y_ticks(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))


def log_if_wide(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic scale for positive values that span more than a factor of 20."""
    low, high = np.nanmin(values), np.nanmax(values)
    if low > 0 and high > _WIDE * low:
        axes.set_yscale("log")


def light_grid(axes: Axes) -> None:
    axes.grid(visible=True)


class TrainingColours:
    """Colours of checkpoints by the logarithm of their step, and the bar that says so."""

    def __init__(self, checkpoints: Sequence[str]) -> None:
        self.names = list(checkpoints)
        self.steps = [training_step(name) for name in self.names]
        self.known = sorted({step for step in self.steps if step is not None})
        self.map = training_colours()

    def line(self, checkpoint: str) -> dict[str, Any]:
        """How its line is drawn; one without a step (`main`) is black and dashed."""
        step = training_step(checkpoint)
        if len(self.names) == 1:
            return {"color": self.map(0.35), "linestyle": "-", "marker": "o", "markersize": 2}
        if step is None:
            return {"color": "black", "linestyle": "--", "linewidth": 0.9, "zorder": 3}
        return {"color": self.map(self._norm(self._place(step))), "linestyle": "-"}

    def colour(self, checkpoint: str) -> Any:
        return self.line(checkpoint)["color"]

    def bar(self, figure: Figure, axes: Sequence[Axes]) -> None:
        """The colour bar beside some panels; nothing for one checkpoint."""
        if len(self.known) > 1:
            shades = ScalarMappable(self._norm, self.map)
            bar = figure.colorbar(shades, ax=list(axes), pad=0.02, aspect=30, shrink=0.9)
            ticks = self._ticks()
            bar.set_ticks([self._place(step) for step in ticks], labels=[short(s) for s in ticks])
            bar.ax.tick_params(length=2)
            bar.outline.set_visible(False)
            unstepped = [name for name in self.names if training_step(name) is None]
            dashed = f" (dashed: {unstepped[0]})" if unstepped else ""
            bar.set_label(f"training step{dashed}")

    @property
    def _norm(self) -> Normalize:
        ends = self.known or [0, 1]
        return Normalize(self._place(ends[0]), self._place(ends[-1]))

    @staticmethod
    def _place(step: int) -> float:
        return math.log10(step + 1)

    def _ticks(self) -> list[int]:
        """Steps there are, about evenly spread over the bar."""
        places = np.array([self._place(step) for step in self.known])
        wanted = np.linspace(places[0], places[-1], min(_TICKS, len(places)))
        return sorted({self.known[int(np.abs(places - one).argmin())] for one in wanted})


def curves(
    axes: Axes, table: pd.DataFrame, colours: TrainingColours, *, depth: bool = False
) -> None:
    """A line a checkpoint over the layers. table: (checkpoint, layer)."""
    places = x_of(layers_of(table), depth)
    gaps: dict[str, Any] = {"marker": ".", "markersize": 2} if table.isna().any(axis=None) else {}
    for checkpoint, values in zip(table.index, table.to_numpy(float), strict=True):
        axes.plot(places, values, **{**gaps, **colours.line(str(checkpoint))})
    light_grid(axes)
    layer_ticks(axes)
    few_y_ticks(axes)


def cells(
    axes: Axes, table: pd.DataFrame, *, colours: str = "viridis", norm: Normalize | None = None
) -> AxesImage:
    """Checkpoints from left to right, layers from bottom to top; cells without a value hatched.

    table: (checkpoint, layer), of layers that need not be neighbours.
    """
    values = np.ma.masked_invalid(table.to_numpy(float).T)
    image = axes.imshow(
        values, cmap=colours, norm=norm, aspect="auto", origin="lower", interpolation="nearest"
    )
    if values.mask.any():
        axes.set_facecolor(MISSING)
        axes.patch.set(hatch="//////", edgecolor=HATCH, linewidth=0)
    axes.spines[:].set_visible(False)
    _name_cells(axes, [str(name) for name in table.index], layers_of(table))
    return image


def name_checkpoints(axes: Axes, checkpoints: Sequence[str], wide: float) -> None:
    """As many checkpoints below the axes as can be read. wide: the axes' width in inches."""
    shown = _some(len(checkpoints), int(wide / 0.15))
    names = [short_checkpoint(checkpoints[i]) for i in shown]
    crowded = sum(len(name) + 2 for name in names) * 0.075 > wide
    axes.set_xticks(shown, names, rotation=90 if crowded else 0)


def _name_cells(axes: Axes, checkpoints: Sequence[str], layers: Sequence[int]) -> None:
    panel = axes.get_position().width * axes.figure.get_figure(root=True).get_figwidth()
    name_checkpoints(axes, checkpoints, panel)
    rows = list(range(0, len(layers), math.ceil(len(layers) / 9)))
    axes.set_yticks(rows, [str(layers[i]) for i in rows])


def _some(n: int, most: int) -> list[int]:
    """At most so many places of n, about evenly spaced, the first and the last among them."""
    if n <= most:
        return list(range(n))
    return sorted({round(place) for place in np.linspace(0, n - 1, max(most, 2))})


def short(number: int) -> str:
    """`0`, `512`, `1k`, `143k`, `1.5M`."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def short_checkpoint(name: str) -> str:
    """A checkpoint by its step alone where its name says no more; `step143000` -> `143k`."""
    step = training_step(name)
    return short(step) if step is not None and name == f"step{step}" else name
