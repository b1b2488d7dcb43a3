"""Printing: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

console = Console(highlight=False)


def as_json(value: Any) -> None:
    """Print dataclasses, lists and dicts as JSON on standard output."""
    plain = [asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for v in _list(value)]
    document = plain if isinstance(value, list) else plain[0]
    text = json.dumps(document, default=str, allow_nan=True, indent=2, ensure_ascii=False)
    if console.is_terminal:
        console.print_json(text)
    else:  # colouring takes as long as all else where it is long
        console.file.write(f"{text}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print rows under headings; numbers are right-aligned."""
    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    body = [[_cell(value) for value in row] for row in rows]
    for index, name in enumerate(columns):
        found = {re.sub("[,./-]", "", row[index]) for row in body} - {"–", "?"}
        numeric = bool(found) and all(cell.isdigit() for cell in found)
        longest = max((len(row[index]) for row in body), default=0)
        drawn.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            min_width=min(longest, console.width // 3) if index == 0 else None,
        )
    for row in body:
        drawn.add_row(*row)
    console.print(drawn)


def lines(*text: str) -> None:
    """Print lines as they are."""
    for line in text:
        console.print(line, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True).print(message, markup=False, soft_wrap=True)


def size(n_bytes: int) -> str:
    """`210.0 MB`."""
    return decimal(n_bytes)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 12 min`, `2 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def when(at: float | None) -> str:
    """`2026-01-31 14:05`, of seconds since 1970; a dash for none."""
    return "–" if not at else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
