"""`actstore run` as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from actstore.commands.run import run
from actstore.store import open_store
from tests.experiment.conftest import Write

TEXTS = """\
name: texts
store: texts.zarr
model: ./neox
checkpoints: [step0, step10, step20]
texts: {file: texts.txt}
extract: {devices: cpu, threads: 1}
metrics: {metrics: [effective_rank]}
"""


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(run)
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_file_with_overrides_and_stages(write: Write) -> None:
    file = write(TEXTS)
    result = call(file, "checkpoints=step10", "extract.dtype=float32", "--stages=collect,extract")
    assert result.exit_code == 0, result.output
    store = open_store(file.parent / "texts.zarr")
    assert store.checkpoints("neox") == ["step10"]
    assert store.checkpoint("neox", "step10").spec.dtype == "float32"
    assert call(file, "checkpoints=step10", "--stages=metrics", "--share=0/1").exit_code == 0
    assert len(store.metric_table()) == 4


def test_a_dry_run_shows_the_resolved_file_and_writes_nothing(write: Write) -> None:
    file = write(TEXTS)
    before = sorted(file.parent.iterdir())
    result = call(file, "layers=0-2", "--dry-run")
    assert result.exit_code == 0
    resolved, _, told = result.output.partition("\ntexts (digest")
    assert yaml.safe_load(resolved)["layers"] == "0-2"
    assert "collect, extract, metrics, report into" in told
    assert sorted(file.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["extract.dtipe=float32"], "dtype"),
        (["--stages=extrakt"], "extract"),
        (["--share=2/2", "--stages=metrics"], "numbered from 0"),
        (["--share=0/2"], "--stages eval"),
        (["model=./nix"], "nix"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    write: Write, arguments: list[str], says: str
) -> None:
    file = write(TEXTS)
    result = call(file, *arguments)
    assert result.exit_code != 0
    assert says in str(result.exception)
    assert not (file.parent / "texts.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_a_stopped_run_ends_with_75_and_goes_on(write: Write, sent: signal.Signals) -> None:
    file = write(TEXTS)
    options = ["extract.batch_tokens=8"]  # slow enough to be stopped
    command = [sys.executable, "-m", "actstore", "run", str(file), *options]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    models = file.parent / "texts.zarr" / "models"
    while process.poll() is None and not any(models.glob("*/step0/mean_pool")):
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert sent.name in said
    assert subprocess.run(command, env=os.environ, capture_output=True).returncode == 0
    assert len(open_store(file.parent / "texts.zarr").metric_table()) == 3 * 4


@pytest.mark.slow
def test_ranks_that_start_together_join_and_share_one_store(write: Write) -> None:
    file = write(TEXTS)
    store = file.parent / "texts.zarr"
    assert call(file, "--stages=collect").exit_code == 0
    ranks = [
        _start(file, "extract", SLURM_STEP_NUM_TASKS="2", SLURM_PROCID=rank, SLURM_LOCALID=rank)
        for rank in "01"
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
    shares = [_start(file, "metrics", f"--share={index}/2") for index in range(2)]
    assert [share.wait() for share in shares] == [0, 0]
    assert len(open_store(store).metric_table()) == 3 * 4
    assert len(open_store(store).experiments()) == 1


def _start(file: Path, stage: str, *options: str, **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "actstore", "run", str(file), "--stages", stage, *options]
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
