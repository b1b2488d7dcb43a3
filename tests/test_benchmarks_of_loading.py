"""The benchmark of loading with the clock off: all cases give all rows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.loading import make_cases
from benchmarks.store import build
from benchmarks.store_data import Sizes


def test_every_case_gives_every_row(tmp_path: Path) -> None:
    cases = make_cases(build(tmp_path, Sizes(layers=3, texts=300, hidden=16)), batch_size=64)
    assert {name: run() for name, run in cases.items()} == dict.fromkeys(cases, 900)
