from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actstore.store import open_store
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import full_store, readings
from tests.support.command_line import Run, command_line
from tests.support.upload_hub import Hub, upload_hub

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"  # huggingface_hub 2.4 uploads so itself
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    full_store(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return command_line(monkeypatch, capsys, tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with upload_hub(monkeypatch) as running:
        yield running


def test_a_copy_is_planned_made_and_checked(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("copy small.zarr copy.zarr --checkpoints step0 --dry-run")
    assert (code, (tmp_path / "copy.zarr").exists()) == (0, False)
    assert "as they are" in out
    code, out, _ = run("copy small.zarr copy.zarr --checkpoints step0 --layers 1 --json")
    assert json.loads(out)["verified"]
    assert open_store(tmp_path / "copy.zarr").checkpoint(MODEL, "step0").layers == (1,)
    code, _, error = run("copy small.zarr copy.zarr --tasks Near --suite both")
    assert (code, "not both" in error) == (2, True)


def test_stores_are_merged(run: Run, tmp_path: Path) -> None:
    run("copy small.zarr a.zarr --checkpoints step0 --no-verify")
    run("copy small.zarr b.zarr --checkpoints step1000 --no-verify")
    code, out, _ = run("merge both.zarr a.zarr b.zarr")
    assert (code, "is sound" in out) == (0, True)
    merged, whole = (open_store(tmp_path / name) for name in ("both.zarr", "small.zarr"))
    assert readings(merged) == readings(whole)


def test_a_store_goes_to_the_hub_and_back(run: Run, hub: Hub, tmp_path: Path) -> None:
    code, out, _ = run("push small.zarr someone/states --license cc-by-4.0")
    assert (code, "/datasets/someone/states" in out) == (0, True)
    code, _, _ = run("pull someone/states back.zarr")
    assert code == 0
    stores = (open_store(tmp_path / name) for name in ("small.zarr", "back.zarr"))
    assert len({repr(readings(store)) for store in stores}) == 1


def test_nothing_is_dropped_without_a_yes(run: Run, tmp_path: Path) -> None:
    code, out, error = run("drop small.zarr --checkpoints step0")
    assert (code, "--yes" in error) == (2, True)
    assert "actstore extract small.zarr" in out.replace("\n", " ") or "Again:" in out
    assert open_store(tmp_path / "small.zarr").checkpoints(MODEL) == ["step0", "step1000"]
    code, out, _ = run("drop small.zarr --checkpoints step0 --yes")
    assert (code, "Removed" in out) == (0, True)
    assert open_store(tmp_path / "small.zarr").checkpoints(MODEL) == ["step1000"]
