"""Writers that are killed at any moment: nothing that was committed is lost, nothing read is wrong.

Processes are killed at a random step of what the storage does, before it, after it or amid it, or
at a random moment, while another reads.
"""

from __future__ import annotations

import multiprocessing.process
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from actstore.store import create_store, open_store
from actstore.store.arrays.sharded import shards_of
from actstore.store.sharing.sweeping import sweep
from actstore.store.storage import LocalStorage
from tests.faults.writing import (
    FORK,
    STEPS,
    TEXTS,
    VALUE,
    check_commits,
    commit,
    contents,
    read,
    reading,
    require_finished,
    write,
)
from tests.support.faults import LAST, Kill, broken
from tests.support.states import MODEL, spec

pytestmark = pytest.mark.faults
Trials = Callable[[int, int], Iterator[str]]
Process = multiprocessing.process.BaseProcess
POOLINGS = ("mean", "last")
WHEN = ("before", "after", "amid")
N_STEPS = 1500
"""Somewhat more than a run makes: some get through."""
SECONDS = 0.4
"""As long as a run takes, about."""


def _write(path: Path, seed: int, kill: Kill | None) -> None:
    with broken(kill or Kill(LAST, "before")):
        write(path, seed)


def _start(path: Path, order: Random, kill: Kill | None) -> Process:
    process = FORK.Process(target=_write, args=(path, order.randrange(1 << 30), kill))
    process.start()
    return process


def _a_step(order: Random) -> Kill:
    return Kill(order.randrange(N_STEPS), order.choice(WHEN))


def _ended(process: Process) -> bool:
    """Whether it ended well; True, or it was killed."""
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), "a writer failed"
    return process.exitcode == 0


def _disturb(path: Path, order: Random) -> None:
    """Two writers at once, each killed at a step or at a moment."""
    by_time = [order.random() < 0.3 for _ in range(2)]
    writers = [_start(path, order, None if timed else _a_step(order)) for timed in by_time]
    for writer, timed in zip(writers, by_time, strict=True):
        if timed:
            time.sleep(order.uniform(0, SECONDS / 2))
            writer.kill()
    for writer in writers:
        _ended(writer)


def test_killed_writers_lose_nothing_that_was_committed_and_nobody_reads_a_wrong_number(
    folder: Path, undisturbed: dict[str, bytes], trials: Trials
) -> None:
    for trial in trials(6, 200):
        order, path = Random(trial), folder / f"{trial.replace('/', '-')}.zarr"
        with reading(path, folder / "report"):
            for _ in range(order.choice((1, 1, 2, 3))):
                _disturb(path, order)
                check_commits(path)
            sweep(LocalStorage(path))
            assert _ended(_start(path, order, None))
        require_finished(path, undisturbed)


def _commit_first(path: Path, kill: Kill) -> int:
    """Commit the first shard; how many steps that takes."""
    group = open_store(path).checkpoint(MODEL, STEPS[0])
    shard = shards_of(group.texts.rows(), group.texts.rows(), group.layout.rows_per_shard)[0]
    with broken(kill) as counted:
        commit(group, shard, POOLINGS, (VALUE,))
    return counted.n_calls


def test_every_step_of_committing_a_shard_may_be_the_last(
    folder: Path, fault_trials: Callable[[int, int], int], fault_seed: int
) -> None:
    begun, whole = folder / "begun.zarr", folder / "whole.zarr"
    store = create_store(begun)
    store.add_texts(TEXTS)
    group = store.begin_checkpoint(spec(checkpoint=STEPS[0]))
    group.begin_poolings(POOLINGS)
    group.begin_text_values([VALUE])
    shutil.copytree(begun, whole)
    n_steps = _commit_first(whole, Kill(LAST, "before"))
    assert n_steps > 30
    for number in range(n_steps):
        for turn in range(fault_trials(1, 3)):
            path = folder / f"{number}-{turn}.zarr"
            shutil.copytree(begun, path)
            kill = Kill(number, WHEN[(number + turn + fault_seed) % 3])
            process = FORK.Process(target=_commit_first, args=(path, kill))
            process.start()
            assert not _ended(process)
            read(path)
            check_commits(path)
            _commit_first(path, Kill(LAST, "before"))
            check_commits(path)
            sweep(LocalStorage(path))
            assert contents(path) == contents(whole), kill


def test_a_writer_that_freezes_amid_a_commit_wakes_to_a_store_that_others_finished(
    folder: Path, undisturbed: dict[str, bytes], trials: Trials
) -> None:
    for trial in trials(2, 40):
        order, path = Random(trial), folder / f"{trial.replace('/', '-')}.zarr"
        frozen = _start(path, order, None)
        time.sleep(order.uniform(0, SECONDS / 2))
        if frozen.pid is not None and frozen.is_alive():
            os.kill(frozen.pid, signal.SIGSTOP)
        healthy = _start(path, order, None)
        time.sleep(order.uniform(0, SECONDS))
        if frozen.pid is not None and frozen.is_alive():
            os.kill(frozen.pid, signal.SIGCONT)
        assert _ended(healthy)
        assert _ended(frozen)
        require_finished(path, undisturbed)
