from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from threading import Barrier, Event, Thread

import pytest
import zarr

from actstore.store import create_store
from actstore.store.sharing.leases import Lease, Leases, live_leases
from actstore.store.storage import LocalStorage
from tests.support.turns import Watched, run_in_turns

UNIT = "org/model/step1/pooled/0"
HOLD = """
import sys, time
from pathlib import Path
from actstore.store.sharing.leases import Leases
from actstore.store.storage import LocalStorage
with Leases(LocalStorage(Path(sys.argv[1])), seconds=float(sys.argv[2])) as leases:
    lease = leases.claim(sys.argv[3])
    print("held" if lease else "refused", flush=True)
    while not lease.lost:
        time.sleep(0.01)
    print("lost", flush=True)
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "s.zarr")


def _files(storage: LocalStorage) -> list[str]:
    return sorted(p.name for p in storage.path("leases").iterdir() if p.name != "zarr.json")


def _eventually(lease: Lease | None, leases: Leases, within: float) -> Lease:
    """The unit once it can be claimed."""
    end = time.monotonic() + within
    while lease is None and time.monotonic() < end:
        time.sleep(0.02)
        lease = leases.claim(UNIT)
    assert lease is not None
    return lease


@contextmanager
def _holder(storage: LocalStorage, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds UNIT."""
    command = [sys.executable, "-c", HOLD, storage.url, str(seconds), UNIT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def _claim_all(root: Path, answers: Connection, go: Connection) -> None:
    with Leases(LocalStorage(root), seconds=60) as leases:
        go.recv()
        answers.send([unit for unit in range(200) if leases.claim(f"m/c/pooled/{unit}")])
        go.recv()


def test_two_processes_claim_every_unit_exactly_once(storage: LocalStorage) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [(context.Pipe(), context.Pipe()) for _ in range(2)]
    workers = [
        context.Process(target=_claim_all, args=(storage.root, answer[1], go[1]))
        for answer, go in pipes
    ]
    for worker in workers:
        worker.start()
    for _, go in pipes:
        go[0].send("claim")
    claimed = [answer[0].recv() for answer, _ in pipes]
    assert len(_files(storage)) == 200
    assert sorted(claimed[0] + claimed[1]) == list(range(200))
    for (_, go), worker in zip(pipes, workers, strict=True):
        go[0].send("end")
        worker.join()
    assert _files(storage) == []


def test_a_held_unit_is_refused_until_it_is_released(storage: LocalStorage) -> None:
    with Leases(storage, seconds=60) as one, Leases(storage, seconds=60) as other:
        lease = one.claim(UNIT)
        assert lease is not None
        assert other.claim(UNIT) is None
        assert one.claim(UNIT) is None
        lease.release()
        lease.release()
        assert other.claim(UNIT) is not None
    assert _files(storage) == []


def test_a_killed_worker_loses_its_units_at_once_on_its_machine(storage: LocalStorage) -> None:
    with _holder(storage, 3600) as process, Leases(storage, seconds=3600) as leases:
        assert leases.claim(UNIT) is None
        process.kill()
        time.sleep(0.05)  # it is not waited for: a zombie has ended too
        assert _eventually(leases.claim(UNIT), leases, within=1).unit == UNIT
        assert [name.split(".")[1] for name in _files(storage)] == ["2"]
    assert _files(storage) == []


def test_a_worker_that_begins_clears_away_what_killed_ones_left(storage: LocalStorage) -> None:
    with _holder(storage, 3600) as process:
        process.kill()
    assert len(_files(storage)) == 1
    with Leases(storage, seconds=60):
        assert _files(storage) == []


def test_a_lease_is_renewed_for_as_long_as_it_is_held(storage: LocalStorage) -> None:
    with (
        Leases(storage, seconds=1.0) as one,
        Leases(storage, seconds=1.0, host="elsewhere") as other,
    ):
        lease = one.claim(UNIT)
        for _ in range(30):
            time.sleep(0.05)
            assert other.claim(UNIT) is None
        assert lease is not None
        assert not lease.lost


def test_a_frozen_worker_loses_its_unit_and_says_so_when_it_wakes(storage: LocalStorage) -> None:
    with (
        _holder(storage, 1.0) as process,
        Leases(storage, seconds=60, host="elsewhere") as other,
    ):
        process.send_signal(signal.SIGSTOP)
        assert other.claim(UNIT) is None
        _eventually(None, other, within=10)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline() == "lost\n"
        assert process.wait() == 0
        assert [info.host for info in live_leases(storage)] == ["elsewhere"]
    assert _files(storage) == []


def test_of_many_that_claim_an_expired_lease_one_wins(storage: LocalStorage) -> None:
    for attempt in range(8):
        assert Leases(storage, seconds=0.0, host="dead").claim(UNIT)
        time.sleep(0.002)
        barrier, won = Barrier(6), []

        def claim(barrier: Barrier = barrier, won: list[Lease] = won) -> None:
            leases = Leases(storage, seconds=60)
            barrier.wait()
            for _ in range(10):
                won.extend(filter(None, [leases.claim(UNIT)]))

        threads = [Thread(target=claim) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1, attempt
        won[0].release()
        assert _files(storage) == []


def test_claiming_and_releasing_by_many_never_gives_a_unit_to_two(storage: LocalStorage) -> None:
    inside, most, rounds = 0, 0, 0

    def work(seconds: float) -> None:
        nonlocal inside, most, rounds
        leases = Leases(storage, seconds=seconds)
        for _ in range(60):
            if lease := leases.claim(UNIT):
                inside += 1
                most, rounds = max(most, inside), rounds + 1
                time.sleep(0.001)
                inside -= 1
                lease.release()

    threads = [Thread(target=work, args=(60.0,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert rounds > 5
    assert _files(storage) == []


def test_a_crash_between_any_two_steps_blocks_nobody_for_ever(tmp_path: Path) -> None:
    steps = 0
    while steps < 50:
        storage = Watched(tmp_path / str(steps))
        Leases(storage, seconds=0.0, host="dead").claim(UNIT)
        left = iter([False] * steps)
        storage.before = lambda _, left=left: next(left)  # raises at the end
        leases = Leases(storage, seconds=0.0, host="dying")
        try:
            lease = leases.claim(UNIT)
            assert lease is not None
            lease.release()
        except StopIteration:
            crashed = True
        else:
            crashed = False
        storage.before = None
        with Leases(storage, seconds=60) as healthy:
            assert healthy.claim(UNIT) is not None
            assert len(_files(storage)) == 1
        assert _files(storage) == []
        if not crashed:
            break
        steps += 1
    assert 5 < steps < 50


def test_a_lease_released_and_claimed_anew_while_it_is_judged_is_left_alone(tmp_path: Path) -> None:
    storage = Watched(tmp_path / "s.zarr")
    dead = Leases(storage, seconds=0.0, host="dead").claim(UNIT)
    other = Leases(storage, seconds=60)

    def meanwhile(step: str) -> None:
        if step == "create":
            storage.before = None
            assert dead is not None
            dead.release()
            assert other.claim(UNIT) is not None

    storage.before = meanwhile
    assert Leases(storage, seconds=60).claim(UNIT) is None
    assert [info.worker for info in live_leases(storage)] == [other.worker]
    assert len(_files(storage)) == 1


def test_a_lease_taken_over_before_an_older_one_is_created_counts(tmp_path: Path) -> None:
    storage = Watched(tmp_path / "s.zarr")
    other = Leases(storage, seconds=60)

    def meanwhile(step: str) -> None:
        if step == "create":
            storage.before = None
            assert Leases(storage, seconds=0.0, host="dead").claim(UNIT) is not None
            assert other.claim(UNIT) is not None

    storage.before = meanwhile
    assert Leases(storage, seconds=60).claim(UNIT) is None
    assert [info.worker for info in live_leases(storage)] == [other.worker]
    assert len(_files(storage)) == 1


def test_releasing_what_was_lost_leaves_the_new_holder_alone(storage: LocalStorage) -> None:
    late = Leases(storage, seconds=0.0, host="late").claim(UNIT)
    between = Leases(storage, seconds=60).claim(UNIT)
    assert late is not None
    assert between is not None
    between.release()
    holder = Leases(storage, seconds=60)
    assert holder.claim(UNIT) is not None
    late.release()
    assert [info.worker for info in live_leases(storage)] == [holder.worker]


@pytest.mark.parametrize("dead_from", ["the beginning", "some moment"])
def test_no_order_of_steps_gives_a_unit_to_two(tmp_path: Path, dead_from: str) -> None:
    winners = set()
    for seed in range(80):
        storage = Watched(tmp_path / str(seed))
        dead, held = Leases(storage, seconds=0.0, host="dead"), []
        lease = dead.claim(UNIT) if dead_from == "the beginning" else None
        wakes = lease.release if lease else partial(dead.claim, UNIT)

        def claim(name: str, storage: Watched = storage, held: list[str] = held) -> None:
            if Leases(storage, seconds=60).claim(UNIT):
                held.append(name)

        tasks = {name: partial(claim, name) for name in "abc"}
        run_in_turns(storage, {**tasks, "dead": wakes}, Random(seed))
        assert len(held) <= 1, seed
        winners.update(held)
    assert winners == set("abc")


@pytest.mark.parametrize("torn", [b"", b'{"unit": "org', b"[]", b"{}"])
def test_a_damaged_lease_holds_nothing(storage: LocalStorage, torn: bytes) -> None:
    with Leases(storage, seconds=60) as leases:
        assert leases.claim(UNIT) is not None
        (name,) = _files(storage)
        storage.path(f"leases/{name}").write_bytes(torn)
        assert live_leases(storage) == []
        other = Leases(storage, seconds=60)
        assert other.claim(UNIT) is not None


def test_a_clock_far_ahead_holds_nothing_for_long(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert Leases(storage, seconds=60, host="elsewhere").claim(UNIT) is not None
    monkeypatch.undo()
    assert Leases(storage, seconds=60).claim(UNIT) is not None


def test_a_later_process_of_the_same_id_holds_nothing(storage: LocalStorage) -> None:
    assert Leases(storage, seconds=3600).claim(UNIT) is not None
    (path,) = storage.path("leases").iterdir()
    started = Leases(storage, seconds=60).claim("another")
    assert started is not None
    mine = f'"started": {started.info.started}'
    assert mine in path.read_text()
    assert Leases(storage, seconds=60).claim(UNIT) is None
    path.write_text(path.read_text().replace(mine, '"started": 1'))
    assert Leases(storage, seconds=60).claim(UNIT) is not None


def test_a_storage_that_fails_for_a_while_does_not_end_the_renewing(tmp_path: Path) -> None:
    storage, failed = Watched(tmp_path / "s.zarr"), Event()

    def fail(step: str) -> None:
        failed.set()
        raise OSError(f"no {step} now")

    with Leases(storage, seconds=1.0) as leases:
        lease = leases.claim(UNIT)
        (before,) = live_leases(storage)
        storage.before = fail
        assert failed.wait(timeout=10)
        storage.before = None
        end = time.monotonic() + 10
        while live_leases(storage)[0] == before and time.monotonic() < end:
            time.sleep(0.02)
        assert live_leases(storage)[0].renewed_at > before.renewed_at
        assert lease is not None
        assert not lease.lost


def test_live_leases_say_who_holds_what_since_when(storage: LocalStorage) -> None:
    assert live_leases(storage) == []
    with Leases(storage, seconds=60) as one, Leases(storage, seconds=60, host="node7") as other:
        before = time.time()
        one.claim("m/b/pooled/1")
        other.claim("m/a/pooled/0")
        live = live_leases(storage)
        assert [(info.unit, info.host) for info in live] == [
            ("m/a/pooled/0", "node7"),
            ("m/b/pooled/1", one.worker.split("-")[0]),
        ]
        assert [info.pid for info in live] == [os.getpid()] * 2
        assert {info.worker for info in live} == {one.worker, other.worker}
        assert all(before <= info.since <= info.renewed_at <= time.time() for info in live)


def test_leases_are_part_of_the_hierarchy_and_older_stores_get_the_folder(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.storage.delete("leases/zarr.json")
    store.storage.path("leases").rmdir()
    assert live_leases(store.storage) == []
    with Leases(store.storage, seconds=60) as leases, warnings.catch_warnings():
        leases.claim(UNIT)
        warnings.simplefilter("error")
        assert "leases" in dict(zarr.open_group(store.path, mode="r").members())
