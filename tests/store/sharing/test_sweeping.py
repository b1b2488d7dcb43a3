from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actstore.store.sharing.sweeping import leftovers, sweep
from actstore.store.storage import LocalStorage
from actstore.store.storage import unfinished as names
from actstore.store.storage.unfinished import unfinished_name, writer_of
from tests.support.faults import Failing, broken

DAY = 24 * 3600
HANG = """
import os, sys, time
from pathlib import Path
from actstore.store.storage import LocalStorage, local
class Hanging:
    def __getattr__(self, name):
        if name == "link":
            print("written", flush=True)
            time.sleep(600)
        return getattr(os, name)
local.os = Hanging()
LocalStorage(Path(sys.argv[1])).create("models/m/c.0.0.0", b"states")
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s.zarr")


@pytest.fixture
def writer(storage: LocalStorage) -> Iterator[subprocess.Popen[str]]:
    """Another process that has written an object and not given it its name yet."""
    command = [sys.executable, "-c", HANG, storage.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def _leave(storage: LocalStorage, name: str, age: float = 0.0) -> Path:
    path = storage.root / "texts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"torn")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_a_live_writer_writes_stays_and_a_killed_one_s_is_swept_at_once(
    storage: LocalStorage, writer: subprocess.Popen[str]
) -> None:
    assert len(storage.unfinished("")) == 1
    assert sweep(storage) == 0
    assert len(storage.unfinished("")) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (left,) = leftovers(storage)
    assert left.key.startswith("models/m/c.0.0.0.")
    assert left.size == len(b"states")
    assert sweep(storage) == 1
    assert storage.unfinished("") == []


def test_a_frozen_writer_is_alive(storage: LocalStorage, writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGSTOP)
    assert sweep(storage) == 0


def test_what_another_machine_left_is_swept_after_a_day(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "process_space", lambda: "node7 of another boot")
    names._writer.cache_clear()
    name = unfinished_name("part-00000.parquet")
    monkeypatch.undo()
    names._writer.cache_clear()
    path = _leave(storage, name, age=DAY - 60)
    assert sweep(storage) == 0
    os.utime(path, (time.time() - DAY - 60,) * 2)
    assert sweep(storage) == 1
    assert not path.exists()


def test_a_file_that_does_not_say_who_writes_it_is_judged_by_its_age(storage: LocalStorage) -> None:
    young, old = _leave(storage, "a.partial"), _leave(storage, "b.partial", age=DAY + 60)
    assert [one.key for one in leftovers(storage)] == ["texts/b.partial"]
    assert sweep(storage) == 1
    assert young.exists()
    assert not old.exists()


def test_nothing_else_is_swept_and_only_below_the_prefix(storage: LocalStorage) -> None:
    kept = _leave(storage, "part-00000.parquet", age=30 * DAY)
    left = _leave(storage, "a.partial", age=30 * DAY)
    assert sweep(storage, "models") == 0
    assert left.exists()
    assert sweep(storage) == 1
    assert kept.exists()
    assert sweep(LocalStorage(storage.root / "not there")) == 0


def test_an_unfinished_name_says_who_writes_it_and_is_not_too_long() -> None:
    name = unfinished_name("v" * 255)
    writer = writer_of(name)
    assert writer is not None
    assert (writer.pid, writer.is_dead()) == (os.getpid(), False)
    assert len(name) < 255
    assert writer_of("key2.123.partial") is None


def test_what_may_not_be_removed_stays(storage: LocalStorage) -> None:
    paths = [_leave(storage, name, age=2 * DAY) for name in ("a.partial", "b.partial")]
    refused = Failing(frozenset({"unlink"}), 0, errno.EPERM)
    with broken(refused):
        assert sweep(storage) == 1
    assert [path.exists() for path in paths] == [True, False]
