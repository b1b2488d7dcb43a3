from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from actstore.errors import MissingDependencyError
from actstore.tracking import Tracking, tracking

has_tensorboard = importlib.util.find_spec("tensorboard") is not None
has_wandb = importlib.util.find_spec("wandb") is not None


def test_nothing_is_written_or_imported_unless_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from actstore.tracking import Tracking, tracking\n"
        "with tracking(Tracking(), 'run', {}) as tracker: tracker.log(0, {'extract/done': 1.0})\n"
        "print(sorted({'tensorboard', 'wandb'} & {*sys.modules}))"
    )
    program = [sys.executable, "-c", code]
    found = subprocess.run(program, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not has_tensorboard, reason="tensorboard is not installed")
def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracking(Tracking(tensorboard=tmp_path), "demo-1", {}) as tracker:
        tracker.log(0, {"extract/done": 3.0, "extract/total": 10.0})
        tracker.log(1, {"extract/done": 7.5})
    read = EventAccumulator(str(tmp_path / "demo-1")).Reload()
    assert {*read.Tags()["tensors"]} == {"extract/done", "extract/total"}
    events = read.Tensors("extract/done")
    assert [(event.step, *event.tensor_proto.float_val) for event in events] == [(0, 3.0), (1, 7.5)]


@pytest.mark.skipif(not has_tensorboard, reason="tensorboard is not installed")
def test_an_error_inside_the_block_passes_and_what_was_logged_stays(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def fail() -> None:
        with tracking(Tracking(tensorboard=tmp_path), "demo", {}) as tracker:
            tracker.log(0, {"x": 1.0})
            raise RuntimeError("the run's own")

    with pytest.raises(RuntimeError, match="the run's own"):
        fail()
    assert len(EventAccumulator(str(tmp_path / "demo")).Reload().Tensors("x")) == 1


@pytest.mark.skipif(not has_wandb, reason="wandb is not installed")
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with tracking(Tracking(wandb="project"), "demo", {"layers": "all"}) as tracker:
        tracker.log(0, {"extract/done": 3.0})
    (run,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"extract/done" in run.read_bytes()


@pytest.mark.parametrize(
    ("asked", "extra"),
    [({"tensorboard": Path("runs")}, "tensorboard"), ({"wandb": "project"}, "wandb")],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    asked: dict[str, object], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (extra, f"{extra}.summary"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    with (
        pytest.raises(MissingDependencyError, match=rf"pip install 'actstore\[{extra}\]'"),
        tracking(Tracking(**asked), "demo", {}),  # type: ignore[arg-type]
    ):
        pass
