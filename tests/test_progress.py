"""Progress bars on a terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from actstore.progress import BYTES, progress


class Terminal(io.StringIO):
    """Takes what is written, as a terminal does."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is not switched off, and the terminal is wide."""
    monkeypatch.delenv("ACTSTORE_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def test_a_bar_inside_another_ones_block_is_a_line_below_it() -> None:
    with redirect_stderr(Terminal()) as terminal, progress("Extracting", 10, "texts") as outer:
        outer(4)
        with progress("Tokenising", 3, "words") as inner:
            inner(3)
        outer(6)
    text = terminal.getvalue()
    shown = ("Extracting", "Tokenising", "3/3", "10/10", "texts/s", "words/s")
    assert all(one in text for one in shown)


def test_bars_one_after_the_other_are_drawn_anew() -> None:
    with redirect_stderr(Terminal()) as terminal:
        for name in ("first", "second"):
            with progress(name, 1, "texts") as advance:
                advance(1)
    text = terminal.getvalue()
    assert text.index("first") < text.rindex("second")
    assert text.rindex("first") < text.rindex("second")


def test_without_a_terminal_nothing_is_drawn() -> None:
    with redirect_stderr(io.StringIO()) as file, progress("Extracting", 10, "texts") as advance:
        advance(10)
    assert file.getvalue() == ""


def test_bytes_are_shown_in_the_units_people_read() -> None:
    with redirect_stderr(Terminal()) as terminal, progress("Verifying", 3_200_000, BYTES) as read:
        read(3_200_000)
    assert "3.2 MB/3.2 MB" in terminal.getvalue()
