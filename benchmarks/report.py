"""The report of 14 checkpoints, 25 layers and 32 tasks: to build, in bytes, to open.

    python -m benchmarks.report [--checkpoints 14 --layers 25 --tasks 32 --metrics 20]

The floor of opening is a page that holds the same library and draws nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from actstore.report import write_report
from actstore.report.html.page import library
from actstore.store import MetricRecord, ScoreRecord, Store, create_store
from benchmarks.timing import Cost, Row, cost, target_table
from tests.support.browser.chromium import chromium_path

MODEL = "benchmark/model"
_TYPES = ("Classification", "Clustering", "PairClassification", "Reranking", "Retrieval", "STS")


@dataclass(frozen=True)
class Size:
    """How much there is to report."""

    checkpoints: int = 14
    layers: int = 25
    tasks: int = 32
    metrics: int = 20


@dataclass(frozen=True)
class Opening:
    """Seconds from asking for a page until its charts stand, the floor's page beside it."""

    report: float
    floor: float


def build(folder: Path, size: Size) -> Store:
    """A store of scores and metrics alone, made up."""
    store = create_store(folder / "store.zarr")
    rng = np.random.default_rng(0)
    for i in range(size.checkpoints):
        arms = [(f"step{1000 * i}", layer) for layer in range(size.layers)]
        store.record_scores(
            [_score(*arm, task, rng.random()) for arm in arms for task in range(size.tasks)]
        )
        store.record_metrics(
            [_metric(*arm, one, rng.random()) for arm in arms for one in range(size.metrics)]
        )
    return store


def _score(checkpoint: str, layer: int, task: int, value: float) -> ScoreRecord:
    return ScoreRecord(
        model=MODEL,
        checkpoint=checkpoint,
        layer=layer,
        pooling="mean_normed",
        task=f"Task{task}",
        task_type=_TYPES[task % len(_TYPES)],
        split="test",
        subset="default",
        main_score=value,
        scores={"main": value},
        in_average=True,
        evaluation_seconds=1.0,
        mteb_version="2",
        inputs_digest="d",
    )


def _metric(checkpoint: str, layer: int, metric: int, value: float) -> MetricRecord:
    return MetricRecord(
        model=MODEL,
        checkpoint=checkpoint,
        layer=layer,
        metric=f"metric{metric}",
        source="mean_pool",
        value=value,
        n=1000,
        unit="nats",
        definition="made up",
        inputs="d",
    )


def command_cost(store: Store, out: Path) -> Cost:
    """What `actstore report` takes, the start of the process included."""
    command = [sys.executable, "-m", "actstore", "report", store.url, "--out", str(out)]
    return cost(lambda: subprocess.run(command, check=True, capture_output=True))


def floor_page(path: Path) -> Path:
    """A page with the library alone, which says at once that it stands."""
    drawn = "document.documentElement.dataset.drawn = 'yes';"
    path.write_text(
        f"<!doctype html><html><body><script>{library()}</script><script>{drawn}</script>",
        encoding="utf-8",
    )
    return path


def opening(report: Path, floor: Path, repeats: int) -> Opening:
    """Medians of both pages, opened in turn in a browser that runs already."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        rounds = [(_open(browser, report), _open(browser, floor)) for _ in range(repeats)]
        browser.close()
    reports, floors = zip(*rounds, strict=True)
    return Opening(median(reports), median(floors))


def _open(browser: Browser, path: Path) -> float:
    page = browser.new_page()
    began = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    seconds = time.perf_counter() - began
    page.close()
    return seconds


def measured(folder: Path, size: Size, repeats: int) -> list[Row]:
    """The lines of the table."""
    store = build(folder, size)
    [page] = write_report(store, folder / "report.html")
    costs = [command_cost(store, folder / "again.html") for _ in range(repeats)]
    wall, cpu = median(one.wall for one in costs), median(one.cpu for one in costs)
    what = f"{size.checkpoints} x {size.layers} x {size.tasks} scores, {size.metrics} metrics"
    rows = [
        Row(f"`actstore report`, {what}", "≤ 10 s", f"{wall:.1f} s, {cpu:.1f} s of CPU time"),
        Row("its page", "< 5 MB", f"{page.stat().st_size / 1e6:.2f} MB"),
    ]
    if chromium_path() is None:
        return [*rows, Row("opened in Chromium", "< 2 s", "not measured: no Chromium here")]
    opened = opening(page, floor_page(folder / "floor.html"), repeats)
    times = f"{opened.report:.2f} s, {opened.report / opened.floor:.1f} x an empty page's"
    return [*rows, Row("opened in Chromium, until all charts stand", "< 2 s", times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoints", "layers", "tasks", "metrics"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Size, name))
    parser.add_argument("--repeats", type=int, default=5)
    asked = vars(parser.parse_args())
    repeats = asked.pop("repeats")
    with tempfile.TemporaryDirectory() as folder:
        print(target_table(measured(Path(folder), Size(**asked), repeats)))


if __name__ == "__main__":
    main()
