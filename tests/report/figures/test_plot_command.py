"""`actstore plot`, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.scored_store import scored_store
from tests.support.command_line import Run, command_line


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    scored_store(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return command_line(monkeypatch, capsys, tmp_path)


def test_a_figure_is_drawn_to_the_file_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("plot heatmap scored.zarr --task Find --width text --out a/fig.svg")
    assert (code, out.strip()) == (0, "a/fig.svg written.")
    assert "Find" in (tmp_path / "a/fig.svg").read_text()
    assert run("plot score-training scored.zarr")[0] == 0
    assert (tmp_path / "score-training.pdf").read_bytes().startswith(b"%PDF")


def test_the_list_says_what_a_store_has_and_how_to_make_the_rest(run: Run) -> None:
    assert "heatmap" in run("plot --list")[1]
    code, out, _ = run("plot --list scored.zarr")
    assert code == 0
    there = {line.split()[1]: " yes " in line for line in out.splitlines() if " scores  " in line}
    assert there["heatmap"]
    assert "no token states: actstore extract scored.zarr --model MODEL --tokens 200" in out


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("plot heatmap scored.zarr --out fig.gif", 2, "fig.pdf, fig.png, fig.svg"),
        ("plot heatmaps scored.zarr --width wide", 2, "'wide' wide"),
        ("plot heatmap scored.zarr --width 1", 2, "inches from 2 to 20"),
        ("plot heetmap scored.zarr", 2, "'heatmap'"),
        ("plot lens scored.zarr", 3, "actstore metrics .*scored.zarr --metric lens_entropy"),
        ("plot heatmap", 2, "actstore plot KIND STORE"),
        ("plot heatmap nothing.zarr", 2, "is not an actstore store"),
    ],
)
def test_mistakes_are_answered_with_what_to_type(
    run: Run, command: str, code: int, message: str
) -> None:
    import re

    found, _, err = run(command)
    assert found == code
    assert re.search(message, re.sub(r"[│╭╮╰╯─]", "", err).replace("  ", " "))
