"""Many writers at once, of which one is killed again and again, while what is planned changes.

Planners add texts, checkpoints, poolings and text values; workers commit what they find planned.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest

from actstore.errors import MissingShardsError, NotAStoreError
from actstore.store import CheckpointGroup, create_store, open_store
from actstore.store.sharing.leases import ADDING_TEXTS, Leases, alone, live_leases
from actstore.store.sharing.sweeping import leftovers, sweep
from actstore.store.storage import LocalStorage
from tests.faults.writing import (
    FORK,
    STEPS,
    TEXTS,
    VALUE,
    check_commits,
    check_states,
    check_values,
    contents,
    fill,
    reading,
)
from tests.support.states import MODEL, spec

pytestmark = pytest.mark.faults
Trials = Callable[[int, int], Iterator[str]]
BATCHES = [TEXTS, *[[f"batch {b}, text {i}" for i in range(70)] for b in range(3)]]
"""Texts as they come: more than a shard each."""
PLANS = [  # checkpoints, poolings and text values, as they come
    (STEPS[:1], ("mean",), ()),
    (STEPS[:1], ("mean", "last"), ()),
    (STEPS, ("mean", "last"), ()),
    (STEPS, ("mean", "last"), (VALUE,)),
]


def plan(path: Path, seed: int, pause: float) -> None:
    """Ask for more and more, with pauses in between."""
    order, store = Random(seed), create_store(path)
    for texts, (steps, poolings, values) in zip(BATCHES, PLANS, strict=True):
        store.add_texts(texts)
        for step in steps:
            group = store.begin_checkpoint(spec(checkpoint=step))
            group.begin_poolings(poolings)
            group.begin_text_values(values)
        time.sleep(order.uniform(0, pause))


def work(path: Path, seed: int, leases: Leases | None, closed: object) -> None:
    """Commit what is planned; to the end once nothing more will be."""
    order = Random(seed)
    while True:
        last = closed.is_set()  # type: ignore[attr-defined]
        with suppress(NotAStoreError):
            storage = open_store(path).storage
            with leases or Leases(storage, seconds=60) as mine:
                for group in _groups(path):
                    poolings, values = group.poolings(), group.text_values()
                    fill(group, tuple(poolings), tuple(values), order, mine)
        if last:
            return
        leases = None
        time.sleep(0.01)


def _groups(path: Path) -> list[CheckpointGroup]:
    store = open_store(path)
    steps = store.checkpoints(MODEL) if MODEL in store.models() else []
    return [store.checkpoint(MODEL, step) for step in steps]


def look(path: Path) -> None:
    """Read every shard that is there and fail at the first wrong number."""
    with suppress(NotAStoreError):
        for group in _groups(path):
            rows, size = group.texts.rows(), group.layout.rows_per_shard
            for start in range(0, len(rows), size):
                some = rows[start : start + size]
                for pooling in group.poolings():
                    with suppress(MissingShardsError):
                        check_states(group, some, pooling)
                for _ in group.text_values():
                    with suppress(MissingShardsError):
                        check_values(group, some)


@pytest.fixture
def planned(folder: Path) -> dict[str, bytes]:
    """What one planner and one worker make, undisturbed."""
    path, closed = folder / "planned.zarr", FORK.Event()
    plan(path, 0, 0.0)
    closed.set()
    work(path, 0, None, closed)
    return contents(path)


def require_same(path: Path, planned: dict[str, bytes]) -> None:
    """Fail unless all that was planned is committed as it would be undisturbed."""
    sweep(LocalStorage(path))
    check_commits(path)
    look(path)
    found = contents(path)
    assert found.keys() ^ planned.keys() == set()
    assert [key for key in found if found[key] != planned[key]] == []
    assert leftovers(LocalStorage(path)) == []


def _start(run: Callable[..., None], *arguments: object) -> BaseProcess:
    process = FORK.Process(target=run, args=arguments)
    process.start()
    return process


def _end(process: BaseProcess) -> None:
    process.join(120)
    assert process.exitcode == 0


def test_killed_planners_and_workers_leave_what_the_others_finish(
    folder: Path,
    planned: dict[str, bytes],
    trials: Trials,
    fault_trials: Callable[[int, int], int],
) -> None:
    n_workers, pause = fault_trials(4, 8), fault_trials(1, 10) / 10
    for trial in trials(1, 20):
        order, path = Random(trial), folder / f"{trial.replace('/', '-')}.zarr"
        with reading(path, folder / "report", look):
            _disturbed(path, order, n_workers, pause)
        require_same(path, planned)


def _disturbed(path: Path, order: Random, n_workers: int, pause: float) -> None:
    """Two planners and some workers, one of all killed after every pause, and begun anew."""
    closed = FORK.Event()

    def begin(place: int) -> BaseProcess:
        seed = order.randrange(1 << 30)
        if place < 2:
            return _start(plan, path, seed, pause)
        return _start(work, path, seed, None, closed)

    processes = [begin(place) for place in range(2 + n_workers)]
    for _ in range(8):
        time.sleep(pause)
        place = order.randrange(len(processes))
        if processes[place].is_alive():
            processes[place].kill()
            processes[place].join()
            processes[place] = begin(place)
    for planner in processes[:2]:
        _end(planner)
    closed.set()
    for worker in processes[2:]:
        _end(worker)


def _work_as(path: Path, host: str, seconds: float, ahead: float) -> None:
    """Work as on another machine, with a clock of its own."""
    now = time.time
    time.time = lambda: now() + ahead  # type: ignore[assignment]
    closed = FORK.Event()
    closed.set()
    work(path, hash(host), Leases(LocalStorage(path), seconds=seconds, host=host), closed)


@pytest.mark.parametrize("apart", [20.0, 600.0, 1e8])
def test_machines_whose_clocks_differ_by_minutes_or_years_finish_together(
    folder: Path, planned: dict[str, bytes], apart: float
) -> None:
    path = folder / "s.zarr"
    plan(path, 0, 0.0)
    with reading(path, folder / "report", look):
        clocks = {"node1": 0.0, "node2": -apart, "node3": apart}
        for worker in [_start(_work_as, path, *item) for item in _settings(clocks)]:
            _end(worker)
    require_same(path, planned)


def _settings(clocks: dict[str, float]) -> list[tuple[str, float, float]]:
    return [(host, 60.0, ahead) for host, ahead in clocks.items()]


def test_a_worker_that_freezes_past_its_lease_wakes_and_harms_nothing(
    folder: Path, planned: dict[str, bytes], trials: Trials
) -> None:
    for trial in trials(1, 10):
        order, path = Random(trial), folder / f"{trial.replace('/', '-')}.zarr"
        plan(path, 0, 0.0)
        sleepy = _start(_work_as, path, "node1", 0.2, 0.0)
        while not live_leases(LocalStorage(path)):
            time.sleep(0.001)
        time.sleep(order.uniform(0, 0.05))
        _send(sleepy, signal.SIGSTOP)
        others = [_start(_work_as, path, host, 0.2, 0.0) for host in ("node2", "node3")]
        time.sleep(0.3)
        _send(sleepy, signal.SIGCONT)
        for worker in (sleepy, *others):
            _end(worker)
        require_same(path, planned)


def _send(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError):  # it is done already
        os.kill(process.pid, number)


def _hold(path: Path, held: object) -> None:
    with alone(LocalStorage(path), ADDING_TEXTS, seconds=3600):
        held.set()  # type: ignore[attr-defined]
        time.sleep(600)


def test_a_lock_that_a_killed_process_held_stops_nobody(folder: Path) -> None:
    path, held = folder / "s.zarr", FORK.Event()
    store = create_store(path)
    rows = store.add_texts(TEXTS)
    holder = _start(_hold, path, held)
    assert held.wait(30)
    holder.kill()
    holder.join()
    views = store.add_views("v", rows[:1], [["another view"]])
    assert store.read_texts(views.rows.ravel()) == ["another view"]
