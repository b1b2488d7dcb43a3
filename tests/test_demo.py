from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from actstore.demo import DemoReport, run_demo
from actstore.extract import TinyPythia
from actstore.store import open_store

pytestmark = pytest.mark.slow

RECIPE = TinyPythia(
    blocks=1, hidden=16, heads=2, vocabulary=400, steps=3, keep=(0,), batch=2, window=16
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    return run_demo(tmp_path_factory.mktemp("demo"), RECIPE, workers=1)


def test_the_demo_ends_with_scores_metrics_and_a_report(demo: DemoReport) -> None:
    store = open_store(demo.store)
    assert demo.failures == ()
    assert demo.report.exists()
    assert demo.checkpoints == ("step0", "step3")
    scores = store.scores()
    assert scores["task"].nunique() == 6
    assert len(scores) == 6 * 2 * 2
    known = store.metrics()["value"].notnull().any("source")
    assert known.isel(layer=slice(1, None)).all()  # no layer comes before the first


def test_what_it_prints_are_the_best_layers_scores(demo: DemoReport) -> None:
    scores = open_store(demo.store).scores()
    for one in demo.tasks:
        rows = scores[(scores["task"] == one.task) & (scores["checkpoint"] == "step3")]
        assert one.last == rows["main_score"].max()
        assert one.task in demo.summary()


def test_the_snippet_runs_as_it_is_printed(demo: DemoReport) -> None:
    assert demo.snippet in demo.summary()
    names: dict[str, object] = {}
    exec(demo.snippet.replace("layer=3", "layer=1"), names)
    assert set(names["ds"].sizes) == {"checkpoint", "layer", "text", "hidden"}  # type: ignore[attr-defined]


def test_the_same_command_again_changes_nothing(demo: DemoReport) -> None:
    before = _arrays(demo.store)
    again = run_demo(demo.report.parent, RECIPE, workers=1)
    assert again.tasks == demo.tasks
    assert _arrays(again.store) == before


def test_a_killed_extraction_goes_on_to_the_same_bits(demo: DemoReport, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from pathlib import Path; from actstore.demo import run_demo\n"
        "from tests.test_demo import RECIPE\n"
        f"run_demo(Path({str(tmp_path)!r}), RECIPE, workers=1)",
    ]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, env={**os.environ})
    models = tmp_path / "demo.zarr" / "models"
    while process.poll() is None and not any(models.glob("*/step0/mean_pool")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = run_demo(tmp_path, RECIPE, workers=1)
    assert again.tasks == demo.tasks
    for checkpoint in demo.checkpoints:
        for pooling in ("mean", "mean_normed"):
            ours, theirs = (_states(one, checkpoint, pooling) for one in (again, demo))
            np.testing.assert_array_equal(ours, theirs)


def _states(demo: DemoReport, checkpoint: str, pooling: str) -> np.ndarray:
    store = open_store(demo.store)
    model = store.only_model()
    return np.stack(
        [
            store.embeddings(model, checkpoint=checkpoint, layer=layer, pooling=pooling)
            for layer in (0, 1)
        ]
    )


def _arrays(store: Path) -> dict[str, bytes]:
    """The bytes of every chunk of every array of states."""
    files = (path for path in (store / "models").rglob("c*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}
