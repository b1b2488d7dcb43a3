"""Suites, evaluation, scores and comparison as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from mteb.cache import ResultCache

from actstore.evaluate import EvaluationRequest, evaluate
from tests.support.command_line import Run, command_line
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import MODEL, N_LAYERS, suite_of, vector_store

SUITE = ("STSBenchmark", "SICK-R")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Path:
    """A folder with a store `vectors.zarr` whose suite `small` is scored but for one layer."""
    folder = tmp_path_factory.mktemp("commands") / "folder"
    store = vector_store(folder, suite_of(*SUITE), checkpoints=("step1", "step2"))
    evaluate(store, EvaluationRequest(MODEL, "small", ("step1",), poolings=("mean",)))
    evaluate(store, EvaluationRequest(MODEL, "SICK-R", ("step2",), poolings=("mean",)))
    return folder


@pytest.fixture
def run(
    scored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    shutil.copytree(scored, tmp_path, dirs_exist_ok=True)
    return command_line(monkeypatch, capsys, tmp_path)


def read(run: Run, command: str) -> list[dict[str, object]]:
    code, out, err = run(command)
    assert code == 0, err
    found: list[dict[str, object]] = json.loads(out)
    return found


@pytest.mark.slow
def test_evaluating_again_says_what_was_there(run: Run) -> None:
    code, out, _ = run("eval vectors.zarr --suite small --pooling mean --transform none,center+l2")
    assert code == 0
    assert "small: 15 scores computed, 9 were there, 0 failed" in out
    assert {row["transform"] for row in read(run, "scores vectors.zarr --json")} == {
        "",
        "center+l2",
    }


def test_means_over_tasks_wait_until_all_are_scored(run: Run) -> None:
    rows = read(run, "scores vectors.zarr --suite small --json")
    means = {(row["checkpoint"], row["layer"]): row["mean"] for row in rows}
    assert len(means) == 2 * N_LAYERS
    assert all(isinstance(means["step1", layer], float) for layer in range(N_LAYERS))
    assert all(means["step2", layer] is None for layer in range(N_LAYERS))


def test_scores_are_written_as_tables_and_as_mtebs_own_files(run: Run, tmp_path: Path) -> None:
    assert run("scores vectors.zarr --by task --out scores.csv")[0] == 0
    table = pd.read_csv(tmp_path / "scores.csv")
    assert len(table) == 3 * N_LAYERS
    code, out, _ = run("scores vectors.zarr --suite SICK-R --out results")
    assert (code, "18 files written to results" in out) == (0, True)
    found = ResultCache(tmp_path / "results").load_results(
        tasks=[*SUITE], load_experiments="match_name"
    )
    assert len(found.model_results) == 2 * N_LAYERS


def test_a_store_agrees_with_its_own_published_table(run: Run, tmp_path: Path) -> None:
    run("scores vectors.zarr --by task --out published.csv")
    table = pd.read_csv(tmp_path / "published.csv")
    table.loc[table["layer"] == 2, "score"] -= 0.25
    table.to_csv(tmp_path / "published.csv", index=False)
    rows = read(run, "compare vectors.zarr --with published.csv --by layer --json")
    found = {(row["checkpoint"], row["layer"]): row["difference"] for row in rows}
    assert found["step1", 0] == found["step2", 1] == 0
    assert found["step2", 2] == pytest.approx(0.25)
    code, out, _ = run("compare vectors.zarr --with published.csv --by task")
    assert code == 0
    assert "SICK-R" in out


def test_a_suites_tasks_are_listed_with_their_counts(run: Run) -> None:
    described = read(run, "suites small --store vectors.zarr --json")
    assert isinstance(described, dict)
    assert [task["name"] for task in described["tasks"]] == [*SUITE]
    assert all(task["exact"] for task in described["tasks"])
    code, out, _ = run("suites layer-by-layer")
    assert (code, "MindSmallReranking" in out) == (0, True)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("scores vectors.zarr --by tusk", "'task'"),
        ("scores vectors.zarr --suite STS12", "There are: small, SICK-R"),
        ("compare vectors.zarr --with none.csv", "none.csv"),
        ("compare vectors.zarr --with vectors.zarr --rename-checkpoint main", "THEIRS=OURS"),
        ("eval vectors.zarr --suite small --transform l3", "no step 'l3'"),
        ("eval vectors.zarr --suite smell --pooling mean", "Did you mean 'small'"),
        ("suites layer-by-layers", "layer-by-layer"),
        ("fetch", "give --suite or --model"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(run: Run, command: str, says: str) -> None:
    code, _, err = run(command)
    assert code == 2
    assert says in err
    assert "Traceback" not in err
