from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from actstore.present import status as present
from actstore.present import terminal
from actstore.store import (
    CheckpointStatus,
    EvaluationStatus,
    FailedUnit,
    StoreStatus,
    create_store,
    extraction_status,
)
from actstore.store.records.runs import RunError
from actstore.store.status.evaluation import ScoredCheckpoint
from actstore.store.status.extraction import ArrayStatus, ModelStatus, ShardProgress

NOW = time.time()
ERROR = RunError(NOW - 60, "StateRangeError: NaN in layer 3", "gpu1", "org/m", "step2")

Show = Callable[[StoreStatus], list[str]]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """The lines that `actstore status` prints on a terminal of 100 columns."""

    def printed(status: StoreStatus) -> list[str]:
        console = Console(highlight=False, width=100)
        monkeypatch.setattr(terminal, "console", console)
        with console.capture() as captured:
            present.show_status(status)
        return [line.rstrip() for line in captured.get().splitlines()]

    return printed


def _checkpoint(name: str, **changes: object) -> CheckpointStatus:
    """A complete checkpoint of two arrays; `changes` override fields."""
    fields: dict[str, object] = {
        "model": "org/m",
        "checkpoint": name,
        "progress": ShardProgress(692, 692, None, 0.0),
        "arrays": (ArrayStatus("mean_pool", 346, 346), ArrayStatus("last_pool", 346, 346)),
        "last_commit": NOW - 3600,
        "workers": (),
        "last_error": None,
    }
    return CheckpointStatus(**{**fields, **changes})  # type: ignore[arg-type]


def _status(*checkpoints: CheckpointStatus, error: RunError | None = None) -> StoreStatus:
    progress = ShardProgress(1000, 2076, 84112.4, 11520.0)
    return StoreStatus("s.zarr", (ModelStatus("org/m", progress, checkpoints),), (), error)


def _row(lines: list[str], checkpoint: str) -> list[str]:
    (row,) = [line for line in lines if line.startswith("│") and f" {checkpoint} " in line]
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_every_checkpoint_is_one_row_that_fits_the_terminal(show: Show) -> None:
    running = _checkpoint(
        "step143000",
        progress=ShardProgress(308, 1_038_000, 84112.4, 187200.0),
        workers=tuple("abcdefghijklmnop"),
    )
    begun = _checkpoint("step2", progress=ShardProgress(0, 692, None, None), last_commit=None)
    lines = show(_status(_checkpoint("step1"), running, begun))
    assert lines[0] == "org/m: 1,000 of 2,076 shards, 84,112 tokens/s, 3 h 12 min left"
    assert _row(lines, "step1")[1:6] == ["692/692", "100", "–", "done", "–"]
    assert _row(lines, "step143000")[1:6] == ["308/1,038,000", "0", "84,112", "2 d 4 h", "16"]
    assert _row(lines, "step2")[1:] == ["0/692", "0", "–", "–", "–", "–"]
    assert len([line for line in lines if line.startswith("│")]) == 3
    assert max(map(len, lines)) <= 100


def test_almost_done_is_not_called_done(show: Show) -> None:
    one = _checkpoint("step1", progress=ShardProgress(1037, 1038, 10.0, 4.4))
    assert _row(show(_status(one)), "step1")[1:5] == ["1,037/1,038", "99", "10", "4 s"]


def test_arrays_that_are_not_equally_far_are_told_apart(show: Show) -> None:
    uneven = _checkpoint(
        "step2",
        progress=ShardProgress(349, 356, None, None),
        arrays=(ArrayStatus("mean_pool", 346, 346), ArrayStatus("tokens/sample/states", 3, 10)),
    )
    lines = show(_status(_checkpoint("step1"), uneven))
    assert [line for line in lines if line.startswith("- ")] == [
        "- step2: mean_pool 346/346, tokens/sample/states 3/10"
    ]


def test_an_error_is_shown_while_its_checkpoint_is_not_complete(show: Show) -> None:
    todo = ShardProgress(345, 692, None, None)
    lines = show(_status(_checkpoint("step2", progress=todo, last_error=ERROR)))
    (remark,) = [line for line in lines if line.startswith("- ")]
    assert remark.startswith("- step2: StateRangeError: NaN in layer 3 (")
    assert remark.endswith(" on gpu1)")
    mended = _checkpoint("step2", last_error=ERROR, last_commit=NOW)
    assert not [line for line in show(_status(mended)) if "StateRangeError" in line]


def test_an_error_of_no_checkpoint_stands_below_all(show: Show) -> None:
    error = RunError(NOW, "DiskSpaceError: 3 GB are free", "gpu1", None, None)
    lines = show(_status(_checkpoint("step1"), error=error))
    assert lines[-1].startswith("Last error: DiskSpaceError: 3 GB are free (")


def test_a_store_without_checkpoints_says_how_to_begin(show: Show, tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    (line,) = show(extraction_status(store))
    assert line.startswith("No checkpoint was begun in ")
    assert "actstore extract" in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "1 h 0 min"),
        (11520, "3 h 12 min"),
        (86399, "1 d 0 h"),
        (187200, "2 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert terminal.duration(seconds) == words


def test_what_could_not_be_scored_is_told_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = FailedUnit(
        model="org/m",
        checkpoint="step1",
        layer=3,
        pooling="mean",
        transform="",
        task="STS17",
        error="OSError: gone",
        traceback="Trace",
        at=NOW,
    )
    scored = ScoredCheckpoint("org/m", "step1", "mean", "", 25, 31)
    console = Console(width=120)
    monkeypatch.setattr(terminal, "console", console)
    with console.capture() as captured:
        present.show_evaluation_status(EvaluationStatus((scored,), (failed,) * 25))
    found = captured.get()
    assert "org/m" in found
    assert "25 could not be scored; run the same actstore eval again" in found
    assert found.count("- STS17 at step1, layer 3, mean: OSError: gone (") == 20
    assert "actstore status STORE --json" in found
