"""Progress bars with rate and remaining time, for everything that takes longer than a moment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

BYTES = "bytes"
"""The unit that is shown in kB, MB, GB."""


class _Amount(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        if task.fields["unit"] != BYTES:
            return super().render(task)
        return Text(f"{decimal(int(task.completed))}/{decimal(int(task.total or 0))}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        if task.speed and unit == BYTES:
            return Text(f"{decimal(int(task.speed))}/s")
        return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else f"– {unit}/s")


_drawn: list[Progress] = []
"""What is on the terminal now: at most one."""


@contextmanager
def progress(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; yields a function that advances it by so many units.

    It is drawn on standard error, so that standard output stays fit for pipes; without a terminal
    there, or with ACTSTORE_PROGRESS=0, nothing is drawn. Inside another's block it is a line more
    below that, until its own block ends.
    """
    if not sys.stderr.isatty() or os.environ.get("ACTSTORE_PROGRESS") == "0":
        yield lambda _: None
        return
    with _bars() as bars:
        task = bars.add_task(description, total=total, unit=unit)
        yield lambda n: bars.advance(task, n)
        bars.refresh()
        if len(bars.tasks) > 1:
            bars.remove_task(task)


@contextmanager
def _bars() -> Iterator[Progress]:
    """The bars that are drawn already, or new ones: a terminal shows one such display at a time."""
    if _drawn:
        yield _drawn[0]
        return
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), _Rate())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        _drawn.append(bars)
        try:
            yield bars
        finally:
            _drawn.clear()
