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
from rich.text import Text

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys instead of showing it: control characters, and those that turn the
direction of text around; and surrogates, which cannot be printed."""
console = Console(highlight=False)


def as_json(value: Any) -> None:
    """Print dataclasses, lists and dicts as JSON on standard output."""
    plain = [asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for v in _list(value)]
    document = plain if isinstance(value, list) else plain[0]
    plain_text = json.dumps(document, default=str, allow_nan=True, indent=2, ensure_ascii=False)
    text = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", plain_text)
    if console.is_terminal:
        console.print_json(text)
    else:  # colouring takes as long as all else where it is long
        console.file.write(f"{text}\n")


def printable(text: str) -> str:
    """Text with what a terminal would obey written out: names in a store may be a stranger's."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print rows under headings; numbers are right-aligned."""
    heading = Text(printable(title), style="table.title") if title else None
    drawn = Table(title=heading, title_justify="left", header_style="bold")
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
        drawn.add_row(*map(Text, row))  # as they are: brackets in names are no markup
    console.print(drawn)


def lines(*text: str) -> None:
    """Print lines as they are."""
    for line in text:
        console.print(printable(line), markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True).print(printable(message), markup=False, soft_wrap=True)


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
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
