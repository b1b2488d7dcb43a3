"""`actstore slurm` where there is no SLURM, or nothing was submitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.command_line import Run, command_line

EXPERIMENT = """\
name: small
store: small.zarr
model: ./neox
texts: {file: texts.txt}
cluster:
  stages: {extract: {time: "02:00:00", array: 3, at_once: 2}}
"""
PROFILE = "name: here\ndefault: {time: '01:00:00', memory: 1G}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Commands in a folder with an experiment, on a machine without SLURM."""
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    (tmp_path / "here.yaml").write_text(PROFILE)
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    (tmp_path / "neox").mkdir()
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    return command_line(monkeypatch, capsys, tmp_path)


def test_a_dry_run_shows_all_scripts_and_needs_no_slurm(run: Run, tmp_path: Path) -> None:
    there = sorted(tmp_path.rglob("*"))
    code, out, err = run("slurm submit small.yaml layers=1-2 --cluster here.yaml --dry-run")
    assert (code, err) == (0, "")
    scripts = ("collect", "extract", "metrics", "report")
    assert [line.split("/")[-1] for line in out.splitlines() if line.startswith("# ==== /")] == [
        f"{stage}.sbatch" for stage in scripts
    ]
    assert "#SBATCH --array=0-2%2" in out
    assert "#SBATCH --time=02:00:00" in out
    assert "ID_OF_METRICS --kill-on-invalid-dep=yes" in out
    assert sorted(tmp_path.rglob("*")) == there


def test_some_stages_keep_the_run_folder_of_the_whole(run: Run) -> None:
    command = "slurm submit small.yaml --cluster here.yaml --dry-run"
    folder = _folder(run(command)[1])
    code, out, _ = run(f"{command} --stages report,extract")
    assert code == 0
    assert _folder(out) == folder
    assert out.count("#!/usr/bin/env bash") == 2
    assert "--dependency=afterok:ID_OF_EXTRACT" in out


def _folder(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("# ==== /")).rpartition("/")[0]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("submit small.yaml --cluster here.yaml", 2, "no sbatch on PATH"),
        ("submit small.yaml", 2, "The experiment names no profile. Give --cluster NAME: "),
        ("submit small.yaml --cluster geneirc", 2, "Did you mean 'generic'"),
        ("submit small.yaml --cluster here.yaml --stages extarct", 2, "Did you mean 'extract'"),
        ("submit small.yaml --cluster here.yaml model=./none", 2, "There is no folder"),
        ("submit none.yaml", 2, "none.yaml"),
        ("status small.yaml", 2, "small was never submitted"),
        ("status small.zarr", 2, "Nothing was submitted for small.zarr"),
        ("cancel neox", 2, "actstore slurm submit EXPERIMENT.yaml"),
        ("logs small.yaml", 2, "small was never submitted"),
    ],
)
def test_what_cannot_be_done_says_what_to_type(
    run: Run, tmp_path: Path, command: str, code: int, words: str
) -> None:
    there = sorted(tmp_path.rglob("*"))
    found, _, err = run(f"slurm {command}")
    assert (found, words in err) == (code, True), err
    assert sorted(tmp_path.rglob("*")) == there
