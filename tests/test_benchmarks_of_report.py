"""The benchmark of the report with the clock off: it builds a report, and its floor opens."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import Size, build, floor_page, measured
from tests.support.browser.chromium import browsing, opened

SMALL = Size(checkpoints=2, layers=3, tasks=7, metrics=2)


def test_the_store_has_all_scores_and_metrics(tmp_path: Path) -> None:
    store = build(tmp_path, SMALL)
    assert store.suite_scores()["mean"].notna().sum() == 6
    assert len(store.metric_table()) == 12


def test_every_line_is_measured(tmp_path: Path) -> None:
    with browsing():
        pass
    rows = measured(tmp_path, SMALL, repeats=1)
    assert [row.target for row in rows] == ["≤ 10 s", "< 5 MB", "< 2 s"]
    assert all(row.measured[0].isdigit() for row in rows)


def test_the_floor_has_the_library_and_draws_nothing(tmp_path: Path) -> None:
    with (
        browsing() as browser,
        opened(browser, floor_page(tmp_path / "floor.html")) as page,
    ):
        assert page.page.evaluate("typeof vegaEmbed") == "function"
        assert page.page.locator("svg").count() == 0
        assert page.problems == []
