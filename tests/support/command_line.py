"""The command line, called as a user types it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actstore.__main__ import main

Run = Callable[..., tuple[int, str, str]]
"""A command without its `actstore` -> exit code, standard output, standard error on one line."""


def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> Run:
    """Runs `actstore …` in a folder."""
    monkeypatch.chdir(folder)

    def call(command: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["actstore", *command.split()])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, re.sub(r"\s+", " ", captured.err)

    return call
