"""Figures by their names: which there are, what a store has of them, and one drawn to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actstore.errors import InvalidInputError
from actstore.report.figures.data import Choice, Data
from actstore.report.figures.registry import FIGURES, figure_kind
from actstore.report.figures.style import COLUMN, TEXT, save, suffix_of
from actstore.store import Store

_WIDTHS = {"column": COLUMN, "text": TEXT}
_NARROWEST, _WIDEST = 2.0, 20.0


def draw_to(kind: str, store: Store, choice: Choice, path: Path) -> Path:
    """Draw a kind of figure to a .pdf, .png or .svg file. Raises as `Kind` and `save` do."""
    suffix_of(path)  # before anything is drawn
    return save(figure_kind(kind)(store, choice), path)


@dataclass(frozen=True)
class Listing:
    """Which figures there are."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """A row a kind: its name, what it needs, whether the store has that, what it shows."""
    commands: tuple[str, ...]
    """A line for everything the store lacks: what makes it."""


def list_kinds(store: Store | None) -> Listing:
    """Which figures there are, and of a store which can be drawn."""
    needs = {name: ", ".join(need.what for need in kind.needs) for name, kind in FIGURES.items()}
    if store is None:
        told = tuple((kind.name, needs[kind.name], kind.about) for kind in FIGURES.values())
        return Listing(("kind", "needs", "shows"), told, ())
    data = Data(store, Choice())
    lacking = {kind.name: kind.lacks(data) for kind in FIGURES.values()}
    rows = tuple(
        (kind.name, needs[kind.name], "no" if lacking[kind.name] else "yes", kind.about)
        for kind in FIGURES.values()
    )
    commands = dict.fromkeys(need.missing(store) for some in lacking.values() for need in some)
    return Listing(("kind", "needs", "there", "shows"), rows, tuple(commands))


def width_of(width: str) -> float:
    """Inches, of `column`, `text` or a number. Raises InvalidInputError."""
    try:
        inches = _WIDTHS.get(width) or float(width)
    except ValueError:
        inches = 0.0
    if not _NARROWEST <= inches <= _WIDEST:
        raise InvalidInputError(
            f"A figure cannot be {width!r} wide. Write --width column, text, or inches from "
            f"{_NARROWEST:g} to {_WIDEST:g}."
        )
    return inches
