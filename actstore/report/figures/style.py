"""How all figures look: sizes, fonts and colours, and how they are written to files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from actstore.errors import InvalidInputError

COLUMN, TEXT = 3.25, 6.75
"""Widths in inches of a column and of the text of a two-column page."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of categories: Okabe & Ito 2008, https://jfly.uni-koeln.de/color/, without the yellow, which is
hard to see on white."""
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = "os^Dv<>"
QUIET = "#b5b5b5"
"""Single tasks behind their mean, and other lines that are not read one by one."""
MISSING, HATCH = "#ececec", "#a5a5a5"

_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.borderaxespad": 0.2,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.hspace": 0.03,
    "figure.constrained_layout.wspace": 0.03,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text, and can be searched and edited
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "actstore",  # else ids differ from run to run
}
_NO_DATE = {
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": "actstore"},
    ".png": {"Software": "actstore"},
    ".svg": {"Date": None, "Creator": "actstore"},
}


def styled() -> AbstractContextManager[None]:
    """matplotlib's defaults with our look, whatever the user's settings are; they come back."""
    # Its return type says Generator, as contextlib's decorator is not seen through.
    context: AbstractContextManager[None] = matplotlib.style.context(["default", _LOOK])
    return context


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as .pdf, .png or .svg, the same bytes each time. Raises InvalidInputError."""
    kind = suffix_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        figure.savefig(path, metadata=_NO_DATE[kind])
    return path


def suffix_of(path: Path) -> str:
    """`.pdf`, `.png` or `.svg`. Raises InvalidInputError for another."""
    if path.suffix.lower() not in _NO_DATE:
        raise InvalidInputError(
            f"A figure cannot be written as {path.name!r}. Write one of: "
            f"{', '.join(path.stem + suffix for suffix in _NO_DATE)}"
        )
    return path.suffix.lower()


def training_colours() -> LinearSegmentedColormap:
    """Viridis without its lightest end, which is hard to see on white."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256))
    return LinearSegmentedColormap.from_list("training", shades)


def category(i: int, *, marker: bool = True) -> dict[str, Any]:
    """How the line of the i-th of some categories is drawn: told apart in grey too."""
    look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
    return {**look, "marker": MARKERS[i % len(MARKERS)]} if marker else look
