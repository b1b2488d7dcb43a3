from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from actstore.store import create_store
from actstore.store.records import environment
from actstore.store.records.runs import RunError, RunLog, run_errors, run_events
from actstore.store.sharing.processes import host_name
from actstore.store.storage import LocalStorage

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s.zarr")


def test_a_run_logs_what_was_asked_and_what_happened(storage: LocalStorage) -> None:
    before = time.time()
    log = RunLog(storage, command=["actstore", "extract"], settings={"layers": "all"})
    log.event("progress", texts=12)
    log.event("finished")
    started, progress, finished = run_events(storage)
    assert [e["event"] for e in (started, progress, finished)] == [
        "started",
        "progress",
        "finished",
    ]
    assert {e["run"] for e in (started, progress, finished)} == {log.run}
    assert {e["pid"] for e in (started, progress, finished)} == {os.getpid()}
    assert (started["command"], started["settings"]) == (["actstore", "extract"], {"layers": "all"})
    assert progress["texts"] == 12
    assert before <= started["at"] <= progress["at"] <= finished["at"] <= time.time()


def test_every_process_has_a_log_of_its_own(storage: LocalStorage) -> None:
    script = (
        "import sys; from pathlib import Path; from actstore.store.records.runs import RunLog\n"
        "from actstore.store.storage import LocalStorage\n"
        "RunLog(LocalStorage(Path(sys.argv[1])), command=['other'], settings={})"
    )
    RunLog(storage, command=["mine"], settings={})
    subprocess.run([sys.executable, "-c", script, storage.url], check=True)
    assert [event["command"] for event in run_events(storage)] == [["mine"], ["other"]]
    assert len(list(storage.path("runs").glob("*.jsonl"))) == 2


def test_the_environment_says_what_can_change_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.delenv("RANK", raising=False)
    found = environment.environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["cpus"] == os.cpu_count()
    versions, variables = found["versions"], found["variables"]
    assert isinstance(versions, dict)
    assert (versions["numpy"], versions["zarr"]) == (np.__version__, zarr.__version__)
    assert isinstance(variables, dict)
    assert variables["SLURM_JOB_ID"] == "4711"
    assert "RANK" not in variables


def test_secrets_never_reach_the_log(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "s3cret")
    RunLog(storage, command=["actstore"], settings={})
    (log,) = storage.path("runs").glob("*.jsonl")
    assert "s3cret" not in log.read_text()


def test_the_revision_of_a_checkout_is_known_and_whether_it_was_changed(tmp_path: Path) -> None:
    def git(*command: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        done = subprocess.run(
            ["git", *who, *command], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert environment._git(tmp_path) is None
    git("init", "-q")
    assert environment._git(tmp_path) is None
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    (tmp_path / "notes.txt").write_text("not tracked")
    assert environment._git(tmp_path) == {"revision": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "code.py").write_text("2")
    assert environment._git(tmp_path) == {"revision": git("rev-parse", "HEAD"), "dirty": True}


def test_without_git_the_revision_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert environment._git(tmp_path) is None


def test_errors_name_the_checkpoint_they_belong_to(storage: LocalStorage) -> None:
    assert run_errors(storage) == []
    log = RunLog(storage, command=[], settings={})
    log.event("error", error="StateRangeError", message="NaN", model="m", checkpoint="step1")
    log.event("progress", texts=1)
    log.event("error", error="DiskSpaceError")
    first, second = run_errors(storage)
    assert first == RunError(first.at, "StateRangeError: NaN", host_name(), "m", "step1")
    assert (second.error, second.model, second.checkpoint) == ("DiskSpaceError", None, None)


def test_a_log_that_cannot_be_written_ends_no_run(storage: LocalStorage) -> None:
    log = RunLog(storage, command=[], settings={})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    (path,) = storage.path("runs").glob("*.jsonl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
    try:
        log.event("progress", texts=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.event("finished")
    assert [event["event"] for event in run_events(storage)] == ["started", "finished"]


def test_stores_made_before_there_was_a_log_get_one(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.storage.delete("runs/zarr.json")
    store.storage.path("runs").rmdir()
    assert run_events(store.storage) == []
    RunLog(store.storage, command=[], settings={})
    assert json.loads(store.storage.read("runs/zarr.json"))["node_type"] == "group"
    assert "runs" in dict(zarr.open_group(store.path, mode="r").members())
