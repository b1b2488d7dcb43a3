"""Where an experiment stands, before, between and after its stages; and watching it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from actstore.errors import NotAStoreError
from actstore.experiment import watching
from actstore.experiment.load import load_experiment
from actstore.experiment.run import run_experiment
from actstore.experiment.standing import Standing, standing_of
from actstore.experiment.watching import watch_standing
from actstore.slurm.manifest import SubmittedJob, begin_manifest, write_manifest
from actstore.store import open_store
from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Leases
from tests.experiment.conftest import EXPERIMENT, Write
from tests.support.command_line import Run, command_line

pytestmark = pytest.mark.usefixtures("small_hub")


def counts(standing: Standing) -> dict[str, tuple[str, int, int | None]]:
    return {one.stage: (one.state, one.done, one.total) for one in standing.stages}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny: Path, small_hub: object) -> Path:
    """An experiment file whose collect and extract ran."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "neox").symlink_to(tiny / "neox")
    file = folder / "tiny.yaml"
    file.write_text(EXPERIMENT, "utf-8")
    run_experiment(load_experiment(file), ["collect", "extract"], file=file)
    return file


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Run:
    return command_line(monkeypatch, capsys, tmp_path)


def test_an_experiment_without_a_store_waits(write: Write, run: Run) -> None:
    file = write()
    found = standing_of(file)
    assert found.experiment == "tiny"
    assert {state for state, _, _ in counts(found).values()} == {"waiting"}
    assert (found.done, found.failed, found.overview) == (False, False, None)
    code, out, _ = run(f"status {file}")
    assert code == 0
    assert "waiting" in out
    assert "was not made yet: the stage collect makes it" in " ".join(out.split())


def test_a_folder_that_is_no_store_is_an_error(write: Write, tmp_path: Path) -> None:
    (tmp_path / "tiny.zarr").mkdir()
    (tmp_path / "tiny.zarr" / "something").touch()
    with pytest.raises(NotAStoreError):
        standing_of(write())


def test_an_experiment_gives_the_totals(begun: Path) -> None:
    found = standing_of(begun)
    _, n_shards, total = counts(found)["extract"]
    assert n_shards == total
    assert counts(found) == {
        "collect": ("done", 2, 2),
        "extract": ("done", n_shards, n_shards),
        "eval": ("waiting", 0, 12),  # 2 tasks, 3 checkpoints, 2 layers
        "metrics": ("waiting", 0, None),
        "report": ("waiting", 0, 1),
    }
    assert not found.done
    alone = standing_of(begun.parent / "tiny.zarr")
    assert counts(alone)["extract"] == ("done", n_shards, n_shards)
    assert "eval" not in counts(alone)
    assert alone.done  # nobody is at work


def test_a_whole_experiment_is_done(write: Write, run: Run) -> None:
    file = write()
    run_experiment(load_experiment(file), file=file)
    found = standing_of(file)
    assert {state for state, _, _ in counts(found).values()} == {"done"}
    assert counts(found)["eval"] == ("done", 12, 12)
    assert (found.done, found.failed) == (True, False)
    code, out, _ = run(f"status {file} --watch --every 0.2")
    assert code == 0  # it ended by itself
    assert out.count("│ collect") == 1


def test_json_is_one_object_of_the_documented_keys(begun: Path, run: Run) -> None:
    code, out, _ = run(f"status {begun} --json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == {
        *("url", "experiment", "done", "failed", "stages", "submission"),
        *("models", "leases", "last_error", "evaluation"),
    }
    assert set(found["stages"][0]) == {
        *("stage", "state", "done", "total", "unit", "per_second", "seconds_left"),
        *("last_at", "error"),
    }
    assert set(found["models"][0]) == {"model", "progress", "checkpoints"}
    code, _, err = run(f"status {begun} --json --watch")
    assert code == 2
    assert "not both" in err


def test_a_failed_stage_ends_watching_with_1(write: Write, run: Run) -> None:
    file = write()
    run_experiment(load_experiment(file), ["collect"], file=file)
    store = open_store(file.parent / "tiny.zarr")
    log = RunLog(store.storage, command=["actstore"], settings={"name": "tiny"})
    log.event("stage", stage="extract", state="began", experiment="d", share=None)
    assert not standing_of(file).failed  # this process is at it
    fields = {"stage": "extract", "experiment": "d", "share": None}
    log.event("stage", state="failed", error="OSError", message="disk gone", **fields)
    assert standing_of(file).failed
    code, out, _ = run(f"status {file} --watch --every 0.2")
    assert code == 1
    assert "extract failed" in out
    assert "OSError: disk gone" in out


def test_watching_prints_what_changed_and_ends_when_nobody_is_at_work(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(begun.parent / "tiny.zarr")
    leases = Leases(store.storage, seconds=60)
    held = leases.claim("neox/step0/pooled/0")
    assert held is not None
    looks = 0

    def look() -> Standing:
        nonlocal looks
        looks += 1
        if looks == 3:
            held.release()
        return standing_of(store.url)

    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)
    assert watch_standing(look, 5.0).done
    assert looks == 3
    assert capsys.readouterr().out.count("│ collect") == 2  # the second look was as the first


def test_jobs_whose_cluster_cannot_be_asked_are_told_as_such(
    write: Write, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write()
    folder = tmp_path / "tiny.zarr.runs" / "tiny-12345678"
    folder.mkdir(parents=True)
    job = SubmittedJob("collect", "tiny-collect", 7, "collect.sbatch", None, (), time.time())
    write_manifest(begin_manifest(folder, "tiny", "d", "generic").with_job(job))
    monkeypatch.setenv("PATH", str(tmp_path))  # no squeue there
    found = standing_of(file)
    assert found.submission is not None
    assert "squeue" in (found.submission.problem or "")
    code, out, _ = run(f"status {file}")
    assert code == 0
    assert "its jobs cannot be told" in " ".join(out.split())
    assert standing_of(file).to_json()["submission"]["folder"] == str(folder)
