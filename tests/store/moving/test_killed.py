"""Moves that are killed at any change they make to a store, and are then run again."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from actstore.errors import ActstoreError
from actstore.store import Store, open_store, verify_store
from actstore.store.moving import (
    CopyRequest,
    DropRequest,
    copy_store,
    drop,
    merge_stores,
)
from actstore.store.storage import LocalStorage
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import full_store, readings
from tests.support.processes import start

CHANGES = ("create", "replace", "append", "delete", "delete_below")
SEEDS = range(2)
MOST = 150
"""Changes that a copy of the full store makes, about."""
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return full_store(tmp_path_factory.mktemp("full"))


def copy(source: str, target: str) -> None:
    copy_store(open_store(source), target, CopyRequest())


def copy_in_float16(source: str, target: str) -> None:
    copy_store(open_store(source), target, CopyRequest(dtype="float16"))


def merge(source: str, target: str) -> None:
    merge_stores(target, [open_store(source)])


def drop_one(_: str, target: str) -> None:
    drop(open_store(target), DropRequest(MODEL, ("step0",), results=True))


def killed_at(change: int, move: Callable[[str, str], None], source: str, target: str) -> None:
    """Move, and die at the so-many-th change, in the middle of it or right behind it."""
    left = [change]

    def counting(name: str) -> None:
        real = getattr(LocalStorage, name)

        def changed(self: LocalStorage, *arguments: object) -> object:
            left[0] -= 1
            if left[0] == 0 and change % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(self, *arguments)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(LocalStorage, name, changed)

    os.environ["ACTSTORE_PROGRESS"] = "0"
    for name in CHANGES:
        counting(name)
    move(source, target)


def kill(seed: int, move: Callable[[str, str], None], source: Store, target: Path) -> None:
    """Run a move that is killed, unless it ends before."""
    change = random.Random(seed).randrange(1, MOST)
    process = start(killed_at, change, move, source.url, str(target))
    process.join(120)
    assert process.exitcode in (-signal.SIGKILL, 0)


def only_right(target: Path, right: dict[str, str]) -> None:
    """What a store that is half written says of its states is what the whole one says."""
    try:
        store = open_store(target)
        said = readings(store)
    except ActstoreError:
        return
    states = {name: value for name, value in said.items() if "/mean " in name}
    done = {name.rpartition("/")[0] for name in states}
    whole = {one for one in done if said[f"{one}/texts done"] == right[f"{one}/texts done"]}
    assert all(
        value == right[name] for name, value in states.items() if name.rpartition("/")[0] in whole
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("move", [copy, copy_in_float16, merge], ids=lambda move: move.__name__)
def test_a_move_that_is_killed_is_gone_on_with(
    made: Store, tmp_path: Path, move: Callable[[str, str], None], seed: int
) -> None:
    target = tmp_path / "target.zarr"
    move(made.url, str(tmp_path / "undisturbed.zarr"))
    right = readings(open_store(tmp_path / "undisturbed.zarr"))
    kill(seed, move, made, target)
    only_right(target, right)
    move(made.url, str(target))
    assert readings(open_store(target)) == right
    assert verify_store(open_store(target)).problems == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drop_that_is_killed_is_gone_on_with(made: Store, tmp_path: Path, seed: int) -> None:
    target = tmp_path / "target.zarr"
    shutil.copytree(made.path, target)
    right = readings(made)
    change = random.Random(seed).randrange(1, 60)
    process = start(killed_at, change, drop_one, made.url, str(target))
    process.join(120)
    assert process.exitcode in (-signal.SIGKILL, 0)
    only_right(target, right)
    if (
        "step0" in open_store(target).checkpoints(MODEL)
        or (target / "models/someone__small/step0").exists()
    ):
        drop_one(made.url, str(target))
    store = open_store(target)
    assert store.checkpoints(MODEL) == ["step1000"]
    assert verify_store(store).problems == ()
    of_other = {name: value for name, value in right.items() if f"{MODEL}/step1000/" in name}
    assert {name: value for name, value in readings(store).items() if name in of_other} == of_other
