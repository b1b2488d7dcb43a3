"""What `actstore search` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.present.terminal import lines, table

if TYPE_CHECKING:
    import pandas as pd

_HEADINGS = ("scores", "best so far", "expected", "sd", "confidence", "scored next")
_ROW = "{:>9}  {:<28} {:>9} {:>8} {:>11}  {}"


def show_search_heading(n_all: int) -> None:
    """Above the lines of a search."""
    lines(f"{n_all:,} scores in the whole grid.", _ROW.format(*_HEADINGS))


def show_search_round(
    n_scores: int,
    best: str,
    belief: tuple[float, float, float],
    following: Sequence[tuple[str, int, Sequence[str]]],
) -> None:
    """One line of a search. belief: expected objective, its sd, the confidence."""
    expected, sd, confidence = (_number(value) for value in belief)
    lines(_ROW.format(f"{n_scores:,}", best or "–", expected, sd, confidence, _next(following)))


def show_replays(summary: pd.DataFrame, title: str) -> None:
    """`actstore search --replay`: a row a strategy."""
    rows = [
        [name, *(_number(value) for value in row)]
        for name, *row in summary.itertuples(index=True, name=None)
    ]
    table(["strategy", *(str(name) for name in summary.columns)], rows, title=title)


def _next(following: Sequence[tuple[str, int, Sequence[str]]]) -> str:
    if not following:
        return "–"
    checkpoint, layer, tasks = following[0]
    named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    more = f" and {len(following) - 1} more" if len(following) > 1 else ""
    return f"{named} at {checkpoint}, layer {layer}{more}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "never"
    return f"{value:.4f}"
