"""The list of suites, and what one holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actstore.errors import UnknownNameError
from actstore.evaluate import (
    SUITES,
    Suite,
    SuiteRow,
    TaskSelection,
    collect,
    describe_suite,
    list_suites,
    resolve_suite,
)
from actstore.store import Store, create_store


@pytest.fixture(scope="module")
def rows() -> dict[str, SuiteRow]:
    return {row.name: row for row in list_suites()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "s.zarr")


def test_listed_suites_can_be_resolved(rows: dict[str, SuiteRow]) -> None:
    assert [*rows][: len(SUITES)] == [*SUITES]
    assert "MIEB(eng)" not in rows  # of images
    assert "MTEB" not in rows  # an alias
    for name in [*SUITES, "MTEB(eng, v2)", "BEIR"]:
        assert rows[name].n_tasks == resolve_suite(name).n_scores


def test_a_row_counts_tasks_texts_and_superseded_ones(rows: dict[str, SuiteRow]) -> None:
    papers = rows["layer-by-layer"]
    assert (papers.n_tasks, papers.n_texts, papers.n_unique) == (32, 4_735_142, 1_419_069)
    assert not papers.exact
    assert papers.n_superseded == 11  # 4 of classification, 6 of clustering, STSBenchmark
    assert rows["mteb-eng-v1"].n_tasks == 56  # the parts of an aggregate count once


def test_storage_is_that_of_the_unique_texts(rows: dict[str, SuiteRow]) -> None:
    papers = rows["layer-by-layer"]
    assert papers.bytes_per_checkpoint(25, 1024) == 1_419_069 * 25 * 1024 * 2
    assert papers.bytes_per_checkpoint(7, 512, value_bytes=4) == 1_419_069 * 7 * 512 * 4


def test_what_is_not_known_is_not_zero(rows: dict[str, SuiteRow]) -> None:
    demo = rows["demo"]
    assert (demo.n_texts, demo.n_unique, demo.bytes_per_checkpoint(25, 1024)) == (None, None, None)
    mixed = describe_suite("STS12,DocstringModuleClassification")
    assert mixed.summary.n_texts is None
    assert [task.n_texts for task in mixed.tasks] == [6216, None]


def test_a_suite_is_described_task_by_task() -> None:
    described = describe_suite("layer-by-layer")
    tasks = {task.name: task for task in described.tasks}
    counterfactual = tasks["AmazonCounterfactualClassification"]
    assert counterfactual.type == "Classification"
    assert counterfactual.main_score == "accuracy"
    assert counterfactual.averaged == (("test", "en"), ("test", "en-ext"))
    assert counterfactual.dataset == "mteb/amazon_counterfactual"
    assert len(counterfactual.revision) == 40
    assert tasks["STSBenchmark"].superseded_by == "STSBenchmark.v2"
    assert tasks["STS12"].superseded_by is None
    assert tasks["TweetSentimentExtractionClassification"].shortest == 0
    assert tasks["STS12"].shortest is not None
    assert described.summary == next(r for r in list_suites() if r.name == "layer-by-layer")


def test_parts_of_an_aggregate_say_so() -> None:
    described = describe_suite("CQADupstackRetrieval")
    assert described.summary.n_tasks == 1
    assert {task.part_of for task in described.tasks} == {"CQADupstackRetrieval"}


def test_an_unknown_suite_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'layer-by-layer'"):
        describe_suite("layerbylayer")


def test_a_store_that_has_the_tasks_gives_exact_counts(store: Store) -> None:
    collect(store, "STS12,STS17[en-en]")
    described = describe_suite("STS12,STS17[en-en]", store)
    for task in described.tasks:
        rows = store.task(task.name).calls()["rows"].combine_chunks().flatten().to_numpy()
        assert (task.n_texts, task.n_unique) == (len(rows), len(np.unique(rows)))
        assert task.exact
    summary = described.summary
    assert summary.exact
    assert summary.n_unique == len(store.rows_of_suite("STS12,STS17[en-en]"))
    assert summary in list_suites(store)


def test_counts_are_the_stores_only_for_the_data_it_has(store: Store) -> None:
    collect(store, "STS17[en-en,en-de]")
    described = [describe_suite(f"STS17{part}", store) for part in ("[en-en]", "[en-de]", "")]
    english, german, both = (one.tasks[0] for one in described)
    assert english.exact
    assert both.exact
    assert (english.n_texts or 0) + (german.n_texts or 0) == both.n_texts
    wider = TaskSelection.of_all("STS17", ["test"], ["en-en", "en-tr"])
    other = describe_suite(Suite("mine", "", (*resolve_suite("STS12").tasks, wider)), store)
    assert [task.exact for task in other.tasks] == [False, False]
    assert not other.summary.exact


def test_a_stores_suites_are_listed_first_and_once(store: Store) -> None:
    collect(store, "demo")
    listed = list_suites(store)
    assert listed[0].name == "demo"
    assert listed[0].exact
    assert listed[0].n_unique == len(store.text_rows())
    assert [row.name for row in listed].count("demo") == 1


def test_the_page_on_suites_states_the_counts(rows: dict[str, SuiteRow]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "suites.md").read_text("utf-8")
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    stated = {tuple(row) for row in cells if row}
    for name in SUITES:
        row, size = rows[name], rows[name].bytes_per_checkpoint(25, 1024)
        gigabytes = "?" if size is None else f"{size / 1e9:,.1f} GB"
        counts = [_shown(n) for n in (row.n_tasks, row.n_texts, row.n_unique)]
        assert (name, *counts, gigabytes, str(row.n_superseded)) in stated
    for task in describe_suite("layer-by-layer").tasks:
        assert (task.name, task.type, _shown(task.n_texts), _shown(task.n_unique)) in stated


def _shown(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
