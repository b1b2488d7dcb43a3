"""Processes that start together on one store that is not there yet."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr

from actstore.errors import NotAStoreError
from actstore.store import create_store, open_store
from actstore.store.sharing.leases import alone, live_leases
from actstore.store.storage import LocalStorage
from tests.support.states import spec

FORK = multiprocessing.get_context("fork")
AT_ONCE = 6
TEXTS = [f"text {i}" for i in range(100)]


def run_together(run: Callable[..., object], *arguments: object) -> None:
    """Call a function in several processes at the same moment; fail unless all end well."""
    barrier = FORK.Barrier(AT_ONCE)
    processes = [
        FORK.Process(target=_run_with_others, args=(barrier, run, arguments))
        for _ in range(AT_ONCE)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * AT_ONCE


def _run_with_others(
    barrier: object, run: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    run(*arguments)


def _create_and_add(path: Path) -> None:
    store = create_store(path)
    assert store.add_texts(TEXTS).tolist() == list(range(len(TEXTS)))


def test_processes_that_create_a_store_at_once_get_the_same_one(tmp_path: Path) -> None:
    for trial in range(20):
        path = tmp_path / f"{trial}.zarr"
        run_together(_create_and_add, path)
        assert open_store(path).text_rows().tolist() == list(range(len(TEXTS)))
        assert len(list((path / "texts").glob("part-*"))) == 1


def _create_and_die(path: Path, steps: int) -> None:
    """Killed before the so-manieth write."""
    replace, left = LocalStorage.replace, [steps]

    def dying(self: LocalStorage, key: str, data: bytes) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        replace(self, key, data)

    LocalStorage.replace = dying  # type: ignore[method-assign, assignment]
    create_store(path)


@pytest.mark.parametrize("steps", range(9))
def test_a_store_whose_creation_was_killed_is_completed(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    process = FORK.Process(target=_create_and_die, args=(path, steps))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(NotAStoreError):
        open_store(path)
    create_store(path).add_texts(TEXTS)
    assert len(open_store(path).text_rows()) == len(TEXTS)
    assert len(list(zarr.open_group(path, mode="r").groups())) == 8


@pytest.mark.parametrize("name", ["notes.txt", "texts/notes.txt", "zarr.json", "other/zarr.json"])
def test_a_folder_that_holds_anything_else_is_left_alone(name: str, tmp_path: Path) -> None:
    file = tmp_path / "s.zarr" / name
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    with pytest.raises(NotAStoreError):
        create_store(tmp_path / "s.zarr")
    assert [path for path in (tmp_path / "s.zarr").rglob("*") if path.is_file()] == [file]


def _count(path: Path) -> None:
    counter, storage = path / "counter", create_store(path / "s.zarr").storage
    for _ in range(3):
        with alone(storage, "texts"):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_one_process_at_a_time_is_alone(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    run_together(_count, tmp_path)
    assert (tmp_path / "counter").read_text() == str(3 * AT_ONCE)
    assert live_leases(LocalStorage(tmp_path / "s.zarr")) == []
    assert not list((tmp_path / "s.zarr" / "leases").glob("*.lease"))


def _begin(path: Path) -> None:
    """Alone, each process would choose other rows per shard, by its dtype."""
    dtype = ("float16", "float32")[os.getpid() % 2]
    plan = spec(checkpoint=f"step{os.getpid()}", dtype=dtype, hidden_size=1 << 16)
    rows_per_shard = open_store(path).begin_checkpoint(plan).layout.rows_per_shard
    (path.parent / str(os.getpid())).write_text(str(rows_per_shard))


def test_checkpoints_that_are_begun_at_once_share_their_models_shards(tmp_path: Path) -> None:
    for trial in range(10):
        folder = tmp_path / str(trial)
        folder.mkdir()
        create_store(folder / "s.zarr").add_texts([f"text {i}" for i in range(4096)])
        run_together(_begin, folder / "s.zarr")
        assert len({file.read_text() for file in folder.iterdir() if file.is_file()}) == 1
