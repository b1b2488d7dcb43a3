"""Tables of a store, and the command that writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actstore.errors import UnknownNameError
from actstore.report.analysis import TABLES, analysis_table, read_material
from actstore.report.analysis_query import AnalysisQuery
from actstore.report.tables import Gaps
from actstore.store import Store, create_store
from tests.report.scored_store import MODEL, metric, score, scored_store
from tests.report.tables.made_scores import cell
from tests.support.command_line import Run, command_line


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return command_line(monkeypatch, capsys, tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return scored_store(tmp_path)


@pytest.mark.parametrize("kind", sorted(set(TABLES) - {"correlations"}))
def test_every_table_is_made_of_a_store(store: Store, kind: str) -> None:
    table = analysis_table(store, kind)
    assert len(table)
    assert table["model"].eq(MODEL).all()


def test_means_are_those_of_the_store(store: Store) -> None:
    ours = analysis_table(store, "arms")
    ours = ours[ours["over"] == "all"].set_index(["checkpoint", "layer"])["mean"]
    theirs = store.suite_scores().set_index(["checkpoint", "layer"])["mean"]
    found = theirs.reindex(ours.index)
    pd.testing.assert_series_equal(ours, found)
    assert ours.isna().sum() == 1  # the cell that was not evaluated is named, not left out


def test_a_slice_has_no_gap(store: Store) -> None:
    table = analysis_table(store, "arms", AnalysisQuery(gaps=Gaps.SLICE))
    assert table["mean"].notna().all()
    assert len(table) == 5 * (6 * 7 - 6)  # a layer of six checkpoints less


def test_tasks_of_a_suite_that_were_never_scored_are_missing(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_scores([score("step0", layer, "Find", 0.5) for layer in (0, 1)])
    listed = [("Find", "default", ""), ("CQA1", "default", "CQA"), ("CQA2", "default", "CQA")]
    tasks = [
        {"name": name, "averaged": [["test", subset]], "part_of": part}
        for name, subset, part in listed
    ]
    store.record_scores(
        [score("step0", 0, name, 0.2 * i) for i, name in ((1, "CQA1"), (2, "CQA2"))]
    )
    store.record_scores([score("step0", 1, "CQA1", 0.9)])
    store.write_suite("three", {"tasks": tasks})
    material = read_material(store, AnalysisQuery(suite="three"))
    found = material.scores.set_index(["task", "layer"])["score"]
    assert found["CQA", 0] == pytest.approx(0.3)  # the mean of its parts, as one task
    assert np.isnan(found["CQA", 1])
    table = analysis_table(store, "coverage-by-layer", AnalysisQuery(suite="three"))
    assert cell(table, layer=1)["missing_tasks"] == "CQA"
    assert cell(table, layer=0)["n_tasks"] == 2


def test_poolings_and_models_are_chosen(store: Store) -> None:
    store.record_scores([score("step0", 0, "Find", 0.9, pooling="last")])
    table = analysis_table(store, "leaves", AnalysisQuery(poolings=("last",)))
    assert table["value"].tolist() == [0.9]
    with pytest.raises(UnknownNameError, match="no pooling with scores 'lst'.*'last'"):
        analysis_table(store, "arms", AnalysisQuery(poolings=("lst",)))
    with pytest.raises(UnknownNameError, match="no model with scores"):
        analysis_table(store, "arms", AnalysisQuery(model="someone/smal"))


def test_availability_counts_layers_that_were_scored_and_not_measured(store: Store) -> None:
    extra = metric("step0", 0, "lonely", float("nan"))
    store.record_metrics([replace(extra, reason="one row")])
    found = cell(analysis_table(store, "metrics"), metric="lonely", checkpoint="step0")
    assert (found["n_nan"], found["n_missing"], found["reasons"]) == (1, 6, "one row (1)")


@pytest.mark.parametrize("file_format", ["csv", "parquet", "markdown"])
def test_the_command_writes_files(run: Run, store: Store, tmp_path: Path, file_format: str) -> None:
    code, out, _ = run(f"tables scored.zarr best-layers --out t --format {file_format}")
    assert code == 0
    assert "best-layers" in out
    expected = analysis_table(store, "best-layers")
    [path] = (tmp_path / "t").iterdir()
    if file_format == "markdown":
        assert path.name == "best-layers.md"
        assert len(path.read_text().splitlines()) == 2 + len(expected)
        return
    found = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    assert found["best_layer"].tolist() == expected["best_layer"].tolist()
    assert found["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=1e-12)


def test_all_tables_are_written_and_those_without_data_named(run: Run, tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_scores([score("step0", layer, "Find", 0.5) for layer in (0, 1)])
    code, out, _ = run("tables s.zarr all --out t")
    assert code == 0
    assert {path.stem for path in (tmp_path / "t").iterdir()} == set(TABLES) - {
        "metrics",
        "correlations",
    }
    assert "No table metrics: s.zarr has no metrics of that. Run first: actstore metrics" in out


def test_a_table_is_shown_over_all_tasks(run: Run, store: Store) -> None:
    code, out, _ = run("tables scored.zarr best-layers")
    assert code == 0
    assert "6 of 54 rows, over all tasks. All of them: --out FOLDER" in out
    code, out, _ = run(
        "tables scored.zarr correlations --methods spearman --surrogates 19 --correction by"
    )
    assert code == 0
    assert "effec" in out


def test_without_a_name_the_tables_are_listed(run: Run, store: Store) -> None:
    code, out, _ = run("tables scored.zarr")
    assert code == 0
    assert all(name in out for name in TABLES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("arm", "There is no table 'arm'. Did you mean 'arms'"),
        ("all", "All tables are written to a folder. Say which: --out tables"),
        ("arms --gaps zero", "There is no treatment of gaps 'zero'"),
        ("win-rate --baseline step0:last", "'last' is no layer. Write: --baseline main:24"),
        ("win-rate --baseline step1", "There is no checkpoint among these scores 'step1'"),
        ("trend-slopes --step main", "Write: --step main=143000"),
        ("correlations --methods mic", "There is no coefficient 'mic'"),
        ("correlations --correction fdr", "There is no correction 'fdr'"),
        ("arms --out t --format xls", "There is no format 'xls'"),
        ("arms --out scored.zarr/zarr.json", "is a file. Give a folder"),
        ("arms --suite nothing", "There is no collected suite or scored task"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    run: Run, store: Store, options: str, message: str
) -> None:
    code, _, error = run(f"tables scored.zarr {options}")
    assert code == 2
    assert message in error


def test_an_empty_store_is_told_what_to_run(run: Run, tmp_path: Path) -> None:
    create_store(tmp_path / "s.zarr")
    code, _, error = run("tables s.zarr arms")
    assert code == 2
    assert "neither scores nor metrics of that. Run first: actstore eval s.zarr --suite" in error
