"""What `actstore tables` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.present.scores import show_scores
from actstore.present.terminal import lines, table

if TYPE_CHECKING:
    import pandas as pd

    from actstore.report.analysis import TableKind
    from actstore.report.table_files import WrittenTable

_SHOWN = 20
_WHOLE = {"over": "all", "at": ""}
"""Columns that tell parts from the whole, and what they say of the whole."""


def show_kinds(kinds: dict[str, TableKind]) -> None:
    """`actstore tables --list`."""
    table(["table", "about"], [(name, kind.about) for name, kind in kinds.items()])


def show_table(found: pd.DataFrame) -> None:
    """The first rows of a table, those over all tasks where it has such, and how many there are."""
    first = found
    for name, whole in _WHOLE.items():
        first = first[first[name] == whole] if name in first else first
    first = first.drop(columns=["target", *_WHOLE], errors="ignore").head(_SHOWN)
    show_scores(first.astype(dict.fromkeys(_nullable(first), float)))
    if len(found) > len(first):
        which = ", over all tasks" if "over" in found else ""
        lines(f"{len(first)} of {len(found):,} rows{which}. All of them: --out FOLDER")


def show_written(written: Sequence[WrittenTable]) -> None:
    """Files, and what there was no data for."""
    made = [(one.kind, f"{one.n_rows:,}", one.path) for one in written if one.path]
    table(["table", "rows", "file"], made)
    lines(*(f"No table {one.kind}: {one.problem}" for one in written if not one.path))


def _nullable(found: pd.DataFrame) -> list[str]:
    return [str(name) for name, dtype in found.dtypes.items() if str(dtype) == "Int64"]
