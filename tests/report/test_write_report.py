"""The report of a store: a page that needs nothing beside it, pictures and tables."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.report import mean_grid, task_scores, write_report
from actstore.store import Store, create_store
from tests.report.scored_store import MODEL, TASKS, metric, score, scored_store


class Page(HTMLParser):
    """Headings, picture sources, texts, and tags that were opened and not closed."""

    VOID = ("meta", "img")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            found = dict(attrs)
            self.sources.append(str(found["src"]))
            self.alts.append(str(found["alt"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def written(store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_report(store, tmp_path_factory.mktemp("out") / "report.html")


def test_the_progress_bar_ends_at_the_number_of_pictures(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    @contextmanager
    def counting(description: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        told.append(total)
        yield lambda n: told.append(-n)

    monkeypatch.setattr("actstore.report.write.progress", counting)
    pictures = [p for p in write_report(store, tmp_path / "report.html") if p.suffix == ".png"]
    assert told[0] == len(pictures) > 0
    assert sum(told) == 0


def test_every_task_and_metric_has_its_pictures(written: list[Path]) -> None:
    names = {path.name for path in written}
    expected = {f"heatmap-{task.lower()}-mean-pooling.png" for task in TASKS}
    expected |= {f"{kind}-mean-over-4-tasks-mean-pooling.png" for kind in ("heatmap", "curves")}
    expected |= {
        f"{kind}-{name}-mean-pool.png"
        for kind in ("heatmap", "curves")
        for name in ("curvature", "effective-rank")
    }
    tables = {"scores.csv", "metrics.csv", "best_layers-mean.csv"}
    assert names == {"report.html"} | expected | tables
    assert all(path.exists() for path in written)


def test_pictures_are_real_and_not_blank(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.format == "PNG"
                assert min(image.size) > 300
                assert np.asarray(image.convert("L")).std() > 10


def test_the_page_embeds_the_pictures_and_asks_for_nothing(written: list[Path]) -> None:
    html = written[0].read_text()
    page = Page(html)
    assert page.open == []
    pictures = [path for path in written if path.suffix == ".png"]
    embedded = [base64.b64decode(source.partition("base64,")[2]) for source in page.sources]
    assert sorted(embedded) == sorted(path.read_bytes() for path in pictures)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in embedded)
    assert all(page.alts)
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "<script" not in html


def test_the_page_names_the_best_layer_of_every_checkpoint(
    store: Store, written: list[Path]
) -> None:
    grid = mean_grid(task_scores(store.scores()))
    [table] = [pd.read_csv(path) for path in written if path.name == "best_layers-mean.csv"]
    assert table["checkpoint"].tolist() == list(grid.checkpoints)
    assert table["best_layer"].tolist() == np.nanargmax(grid.values, axis=1).tolist()
    assert table["score"].to_numpy() == pytest.approx(np.nanmax(grid.values, axis=1))
    words = "".join(Page(written[0].read_text()).words)
    for value in table["score"]:
        assert f"{value:.4f}" in words


def test_the_tables_hold_every_score_and_metric(store: Store, written: list[Path]) -> None:
    tables = {path.name: pd.read_csv(path) for path in written if path.suffix == ".csv"}
    assert tables["scores.csv"]["main_score"].to_numpy() == pytest.approx(
        store.scores()["main_score"].to_numpy()
    )
    assert len(tables["metrics.csv"]) == 2 * 6 * 7


def test_a_folder_gets_a_page_in_it(store: Store, tmp_path: Path) -> None:
    [page, *files] = write_report(store, tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert {path.parent for path in files} == {page.parent / "report_files"}


def test_writing_again_gives_the_same_bytes(store: Store, written: list[Path]) -> None:
    before = [path.read_bytes() for path in written]
    again = write_report(store, written[0])
    assert again == written
    assert [path.read_bytes() for path in again] == before


def test_two_models_do_not_overwrite_each_other(tmp_path: Path) -> None:
    create_store(tmp_path / "two.zarr").record_scores(
        [score("step0", 0, "Find", value, model=m) for m, value in (("a/x", 0.1), ("b/x", 0.9))]
    )
    store = create_store(tmp_path / "two.zarr")
    store.record_metrics([metric("step0", 0, "curvature", 1.0, model="a/x")])
    names = {path.name for path in write_report(store, tmp_path / "both.html")}
    assert {"a__x-heatmap-find-mean-pooling.png", "b__x-heatmap-find-mean-pooling.png"} <= names
    one = write_report(store, tmp_path / "one.html", model="b/x")
    assert "heatmap-find-mean-pooling.png" in {path.name for path in one}
    assert "a/x" not in "".join(Page(one[0].read_text()).words)


def test_one_task_has_no_mean_over_tasks(tmp_path: Path) -> None:
    store = create_store(tmp_path / "one.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3), score("step0", 1, "Find", 0.4)])
    names = {path.name for path in write_report(store, tmp_path / "one.html")}
    assert not any("mean-over" in name for name in names)
    assert "heatmap-find-mean-pooling.png" in names


def test_metrics_alone_make_a_report(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_metrics([metric("step0", 0, "curvature", float("nan"))])
    assert "heatmap-curvature-mean-pool.png" in {p.name for p in write_report(store, tmp_path)}


def test_names_are_shown_as_text_not_as_markup(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "<b>Find</b>", 0.3, model="a/<i>x</i>")])
    html = write_report(store, tmp_path)[0].read_text()
    assert "<b>" not in html
    assert "<i>" not in html
    assert "<b>Find</b>" in "".join(Page(html).words)


def test_a_folder_is_named_by_its_last_part(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3, model="/home/somebody/tiny/")])
    words = "".join(Page(write_report(store, tmp_path)[0].read_text()).words)
    assert "tiny: scores" in words
    assert "somebody" not in words


def test_an_empty_store_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"actstore eval .* actstore metrics "):
        write_report(create_store(tmp_path / "empty.zarr"), tmp_path / "report.html")


def test_an_unknown_model_is_refused_with_the_nearest_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(MODEL)):
        write_report(store, tmp_path / "report.html", model="someone/smal")
    assert not (tmp_path / "report.html").exists()
