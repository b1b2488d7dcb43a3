"""What is written: one file, the numbers in it, and what it says of where they come from."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.report import write_report
from actstore.report.html.facts import shown_command
from actstore.store import EvaluationFailure, Store, create_store
from tests.report.scored_store import MODEL, TASKS, metric, score, scored_store


class Page(HTMLParser):
    """A report's data, its tables by caption, and all its text."""

    VOID = ("meta", "link", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.captions: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr" and self.captions:
            self.tables.setdefault(self.captions[-1], []).append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["caption"]:
            self.captions.append(data)
        elif self.open[-1:] == ["td"]:
            self.tables[self.captions[-1]][-1].append(data)
        if "script" not in self.open:
            self.words.append(data)

    def rows(self, caption: str) -> list[list[str]]:
        """A table's rows below its head."""
        return [row for row in self.tables[caption] if row]

    @property
    def numbers(self) -> dict[str, Any]:
        found = re.search('<script type="application/json" id="numbers">(.*?)</script>', self.html)
        assert found is not None
        return dict(json.loads(found[1]))

    def column(self, name: str) -> list[float | None]:
        """The numbers of the quantity that a list names so."""
        found = re.search(rf'<option value="(q\d+)"(?: selected)?>{re.escape(name)}<', self.html)
        assert found is not None
        return list(self.numbers["columns"][found[1]])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def written(store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_report(store, tmp_path_factory.mktemp("out") / "report.html")


def test_it_is_one_file_with_all_tags_closed(written: list[Path]) -> None:
    [path] = written
    assert [*path.parent.iterdir()] == [path]
    page = Page(path)
    assert page.open == []
    assert path.stat().st_size < 2_000_000


def test_nothing_in_it_points_elsewhere(written: list[Path]) -> None:
    html = Page(written[0]).html
    markup = re.sub("(<script>).*?(</script>)", r"\1\2", html, flags=re.DOTALL)
    assert len(markup) < len(html) / 2
    assert not re.search(r"""<[^>]+(src|href)=["'](?!data:|#)""", markup)
    assert "default-src 'none'" in unescape(markup)


def test_its_numbers_are_the_stores(store: Store, written: list[Path]) -> None:
    page = Page(written[0])
    scores = store.task_scores().set_index(["checkpoint", "layer", "task"])["score"]
    metrics = store.metric_table().set_index(["checkpoint", "layer", "metric"])["value"]
    arms, names = page.numbers["arms"], page.numbers["states"][0]["checkpoints"]
    columns = {task: page.column(task) for task in TASKS}
    curvature = page.column("curvature (mean_pool)")
    for i, (c, layer) in enumerate(zip(arms["c"], arms["l"], strict=True)):
        for task, column in columns.items():
            expected = scores.get((names[c], layer, task))
            assert column[i] == (None if expected is None else pytest.approx(expected, rel=1e-6))
        assert curvature[i] == pytest.approx(metrics[names[c], layer, "curvature"], rel=1e-6)
    assert len(arms["s"]) == 42


def test_means_are_the_suites_and_never_over_what_happens_to_be_there(tmp_path: Path) -> None:
    """Of two tasks the suite counts one subset each; one arm lacks a task."""
    store = create_store(tmp_path / "some.zarr")
    store.record_scores(
        [
            score("step0", 0, "Find", 0.2, subset="en"),
            score("step0", 0, "Find", 0.9, subset="de"),
            score("step0", 0, "Similar", 0.4, subset="en"),
            score("step0", 1, "Find", 0.7, subset="en"),
            score("step0", 0, "Groups", 0.1),
            score("step0", 1, "Groups", 0.1),
        ]
    )
    tasks = [{"name": name, "averaged": [["test", "en"]]} for name in ("Find", "Similar")]
    store.write_suite("mine", {"name": "mine", "description": "", "tasks": tasks})
    page = Page(write_report(store, tmp_path / "all.html")[0])
    assert page.column("Mean over 2 tasks") == [pytest.approx(0.3), None]
    assert page.column("Tasks scored") == [2, 1]
    assert "Suite: mine" in page.html
    assert "Groups" not in "".join(page.words)
    assert page.rows("Scores of each suite")[0][-3:] == ["3", "4", "75.0%"]
    assert page.rows("Missing scores")[0][-4:] == ["Similar", "1", "2", "step0"]
    asked = Page(write_report(store, tmp_path / "asked.html", suites=["Find,Groups"])[0])
    assert asked.column("Mean over 2 tasks") == [pytest.approx((0.55 + 0.1) / 2), None]


def test_what_is_missing_is_said(written: list[Path]) -> None:
    page = Page(written[0])
    assert page.rows("Scores of each suite") == [
        ["all scored tasks", MODEL, "mean", "164", "168", "97.6%"]
    ]
    missing = page.rows("Missing scores")
    assert [row[3] for row in missing] == sorted(TASKS)
    assert {tuple(row[4:]) for row in missing} == {("1", "42", "step40")}


def test_metrics_without_values_say_why(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    nan = dataclasses.replace(metric("step0", 0, "curvature", float("nan")), reason="constant")
    store.record_metrics([nan, metric("step0", 1, "curvature", 2.0)])
    store.record_scores([score("step0", 2, "Find", 0.1)])
    page = Page(write_report(store, tmp_path)[0])
    assert page.rows("Metrics")[0][1:] == [
        *("curvature", "mean_pool", "1", "1", "1"),
        "constant (1)",
    ]


def test_evaluations_that_failed_are_listed(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3)])
    failure = EvaluationFailure(MODEL, "step0", 1, "mean", "", "Find", "ValueError: no", "…")
    store.record_evaluation_failures([failure])
    page = Page(write_report(store, tmp_path)[0])
    assert page.rows("Evaluations that failed") == [[MODEL, "step0", "1", "Find", "ValueError: no"]]


def test_it_says_how_to_make_it_again(written: list[Path]) -> None:
    words = "".join(Page(written[0]).words)
    assert "--checkpoints step0,step20,step40,step80,step160,step320 --pooling mean" in words
    assert "actstore eval scored.zarr --model someone/small --suite Find,Groups" in words
    assert "actstore metrics scored.zarr --model someone/small --metric curvature," in words


def test_commands_for_a_shell_are_quoted(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("$(rm x)", 0, "Find", 0.3)])
    assert "--checkpoints '$(rm x)' " in "".join(Page(write_report(store, tmp_path)[0]).words)


def test_commands_that_were_run_name_no_folders_of_the_machine() -> None:
    typed = ["/home/me/.venv/bin/actstore", "eval", "/home/me/data/p.zarr", "--suite", "a b"]
    assert shown_command(typed) == "actstore eval p.zarr --suite 'a b'"
    assert shown_command(["/x/actstore/__main__.py", "demo"]) == "actstore demo"


def test_a_folder_is_named_by_its_last_part(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3, model="/home/somebody/tiny/")])
    page = Page(write_report(store, tmp_path)[0])
    assert "tiny: representations by checkpoint and layer" in page.words
    assert "somebody" not in page.html.partition("<pre")[0]


def test_experiments_stand_in_it_whole(tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3)])
    store.keep_experiment("0123456789abcdef99", "mine", "name: mine\nstages: [eval]\n")
    words = "".join(Page(write_report(store, tmp_path)[0]).words)
    assert "name: mine\nstages: [eval]\n" in words
    assert "digest 0123456789abcdef)" in words


def test_tables_are_written_where_asked_for(store: Store, tmp_path: Path) -> None:
    _, scores, metrics = write_report(store, tmp_path / "mine.html", tables=True)
    assert scores == tmp_path / "mine_files" / "scores.csv"
    found = pd.read_csv(scores)["main_score"].to_numpy()
    assert found == pytest.approx(store.scores()["main_score"].to_numpy())
    assert len(pd.read_csv(metrics)) == len(store.metric_table())


def test_one_model_can_be_chosen(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    store.record_scores([score("main", 0, "Find", 0.9, model="other/model")])
    page = Page(write_report(store, tmp_path / "one.html", model=MODEL)[0])
    assert "other/model" not in page.html
    both = Page(write_report(store, tmp_path / "both.html")[0])
    assert len(both.numbers["states"]) == 2


def test_an_earlier_report_is_replaced(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("earlier")
    assert write_report(store, path) == [path]
    assert "earlier" not in path.read_text(encoding="utf-8")
    assert [*tmp_path.iterdir()] == [path]


def test_an_empty_store_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"actstore eval .* actstore metrics "):
        write_report(create_store(tmp_path / "empty.zarr"), tmp_path / "report.html")


def test_unknown_names_are_refused_with_the_nearest(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(MODEL)):
        write_report(store, tmp_path / "report.html", model="someone/smal")
    with pytest.raises(UnknownNameError, match="Groups"):
        write_report(store, tmp_path / "report.html", suites=["Group"])
    assert not (tmp_path / "report.html").exists()
