"""The benchmarks of evaluation with the clock off: the sides they compare give the same scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluate, evaluate_fast, evaluate_floor, evaluate_layers, evaluate_memory
from benchmarks.evaluate_precision import LastBitModel, differences
from benchmarks.evaluate_rows import Rows, RowsModel
from benchmarks.evaluate_scores import largest_difference, score
from benchmarks.evaluate_tasks import MORE, PAPER, Settings, sized_task
from benchmarks.timing import target_table

SMALL = ("STSBenchmark", "TwitterSemEval2015", "AskUbuntuDupQuestions", "SummEvalSummarization.v2")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """mteb warns of superseded tasks, scikit-learn of fits that mteb cuts short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Sizes at which a benchmark takes no time."""
    return Settings(tmp_path, hidden=16, scale=0.005, layers=2, rounds=1)


@pytest.mark.parametrize("name", SMALL)
def test_the_sides_of_the_floor_have_equal_scores(settings: Settings, name: str) -> None:
    cases = evaluate_floor.make_sides(settings, name).cases()
    first, *others = (run() for run in cases.values())
    assert len(first) == settings.layers
    assert first[0] != first[1]  # of two layers
    assert [largest_difference(first, other) for other in others] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*evaluate_floor.TASKS} - {*SMALL}))
def test_all_sides_of_the_floor_have_equal_scores(settings: Settings, name: str) -> None:
    test_the_sides_of_the_floor_have_equal_scores(settings, name)


@pytest.mark.parametrize("name", ["TwitterURLCorpus", "AmazonCounterfactualClassification"])
def test_fast_paths_are_compared_in_every_leaf(settings: Settings, name: str) -> None:
    found = evaluate_fast.compare(name, settings)
    assert found.difference == 0
    assert found.upstream > 0 < found.quick


def test_the_table_has_a_line_for_every_benchmark_asked_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    few = Settings(settings.folder, hidden=16, scale=0.005, layers=1, rounds=1, tasks=("STS12",))
    rows = [row for name in ("floor", "fast", "precision") for row in evaluate.run(few, name)]
    assert target_table(rows).count("\n") == 5
    assert "x less" in capsys.readouterr().out


@pytest.mark.slow
def test_layers_in_one_call_have_the_scores_of_calls_one_by_one(settings: Settings) -> None:
    row = evaluate_layers.layers_row(settings, "STSBenchmark")
    assert " x (" in row.measured


@pytest.mark.slow
def test_memory_is_that_of_the_processes_that_score(settings: Settings) -> None:
    (row,) = evaluate_memory.memory_rows(settings)
    assert "GiB, beside it" in row.measured


def test_tasks_have_the_sizes_that_mteb_tells_of_them() -> None:
    """As many rows as a model is given in each layer; training data only as drawn from."""
    encoded = {"SprintDuplicateQuestions": 202_000, "STS12": 6_216, "AskUbuntuDupQuestions": 7_581}
    for name, expected in encoded.items():
        data = sized_task(name).dataset
        if name.startswith("AskUbuntu"):
            found = len(data["default"]["test"]["queries"]) + len(data["default"]["test"]["corpus"])
        elif name.startswith("Sprint"):
            found = 2 * len(data["test"][0]["sentence1"])
        else:
            found = 2 * len(data["test"])
        assert found == expected


def test_every_task_of_the_paper_has_its_labels() -> None:
    data = sized_task("MTOPIntentClassification", 0.01).dataset["en"]
    assert len({*data["train"]["label"]}) == 113
    assert len(PAPER) == 31
    assert len(MORE) == 6


def test_texts_have_different_vectors_and_always_the_same() -> None:
    rows = Rows(hidden=32)
    texts = [f"{i % 7} {i}" for i in range(20_000)]
    vectors = rows(texts)
    assert len(np.unique(vectors, axis=0)) == len(texts)
    np.testing.assert_array_equal(Rows(hidden=32)(texts[500:510]), vectors[500:510])
    assert np.abs(vectors).max() < np.finfo(np.float16).max


def test_a_last_bit_is_less_than_what_float16_rounds() -> None:
    rows = Rows(hidden=32)
    texts = ["1 2", "3 4"]
    exact = rows(texts)
    half = np.abs(RowsModel(rows, "float16").round(exact) - exact)
    last = np.abs(LastBitModel(rows).round(exact) - exact)
    assert (last > 0).all()
    assert last.max() < 0.01 * half.max()


def test_precision_is_that_of_the_main_score(settings: Settings) -> None:
    kind, half, last = differences(settings, "STS12")
    assert kind == "STS"
    assert len(half) == len(last) == settings.rounds
    assert 0 < half[0] < 0.05


def test_differences_are_found_in_every_leaf() -> None:
    one = {"test": [{"a": 1.0, "b": float("nan"), "c": None, "d": [1, 2]}]}
    assert largest_difference(one, one) == 0
    assert largest_difference(one, {"test": [{**one["test"][0], "d": [1, 2.5]}]}) == 0.5
    assert largest_difference(one, {"test": [{**one["test"][0], "b": 1.0}]}) == float("inf")
    assert largest_difference(one, {"test": [{**one["test"][0], "c": "x"}]}) == float("inf")


def test_scores_are_those_of_a_task_object_just_made(settings: Settings) -> None:
    """Fast clustering draws from a generator that the object keeps."""
    task, model = sized_task("RedditClustering.v2", settings.scale), RowsModel(Rows(16))
    first, again = (score(model, task).scores for _ in range(2))
    assert largest_difference(first, again) == 0
