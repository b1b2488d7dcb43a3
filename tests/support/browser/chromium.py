"""Pages in a real browser without a window: Debian's Chromium, steered by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.browser import NO_BROWSER


@dataclass
class Opened:
    """A page that was opened and has drawn its charts, and what it did meanwhile."""

    page: Page
    requests: list[str] = field(default_factory=list)
    """Every address that was asked for, the page's own first."""
    problems: list[str] = field(default_factory=list)
    """What the console says besides plain messages, and errors that nothing caught."""

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def cells(self, table: str) -> list[list[str]]:
        """The texts of a table's rows, without its head."""
        rows = self.page.locator(f"#{table} tbody tr").all()
        return [row.locator("th, td").all_text_contents() for row in rows]

    def drawing(self, chart: str) -> str:
        """A chart as it stands, as SVG."""
        return self.page.locator(f"#{chart} svg.marks").evaluate("svg => svg.outerHTML")


def chromium_path() -> str | None:
    """Where it is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    path = chromium_path()
    if path is None:
        pytest.skip(f"{NO_BROWSER}: tests/support/browser/install.sh")
    with sync_playwright() as playwright:
        # Root, as containers have it, is refused the sandbox.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    *,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Opened]:
    """Open a report as a file and wait until its charts stand."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    found = Opened(page)

    def heard(message: ConsoleMessage) -> None:
        if message.type not in ("log", "info", "debug"):
            found.problems.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    yield found
    page.close()
