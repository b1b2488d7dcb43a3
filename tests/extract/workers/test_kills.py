"""Workers killed or frozen at any moment: what is stored is what an undisturbed one stores."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actstore.extract import ExtractionRequest, TokenSampleRequest, extract
from actstore.extract.workers.pooled import PooledJob
from actstore.store import open_store, verify_store
from actstore.store.records.ledger import Ledger
from actstore.store.sharing.leases import live_leases
from actstore.store.storage import LocalStorage
from tests.support.extraction import request_of, shards, store_of_texts
from tests.support.processes import (
    ended_well,
    is_stopped,
    kill,
    start,
    start_extraction,
    wait_until,
)

N_KILLS = 50
AT_ONCE = 2
"""Workers."""


@pytest.fixture(scope="module")
def request_(pythia_folder: Path) -> ExtractionRequest:
    sample = TokenSampleRequest("sample", range(20))
    return request_of(pythia_folder / "step0", token_sample=sample, lens_head=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with texts, to be copied."""
    return store_of_texts(tmp_path_factory.mktemp("template") / "s.zarr").path


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, template: Path, request_: ExtractionRequest
) -> Path:
    """A store whose extraction was never interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed") / "s.zarr"
    shutil.copytree(template, folder)
    extract(open_store(folder), request_)
    return folder


def require_as(undisturbed: Path, folder: Path) -> None:
    """Fail unless a store holds what one undisturbed does, sound, and no worker is at it."""
    assert shards(folder) == shards(undisturbed)
    report = verify_store(open_store(folder))
    # An orphan of a killed run may leave an unfinished file after the last run has swept.
    assert replace(report, notes=()) == verify_store(open_store(undisturbed))
    assert report.problems == ()
    assert live_leases(open_store(folder).storage) == []


@pytest.mark.slow
def test_kills_at_random_moments_leave_what_another_run_finishes(
    template: Path, request_: ExtractionRequest, undisturbed: Path, tmp_path: Path
) -> None:
    seconds = _seconds_of_a_run(template, request_, tmp_path / "timed.zarr")
    chance = random.Random(0)
    for trial in range(N_KILLS):
        folder = tmp_path / f"{trial}.zarr"
        shutil.copytree(template, folder)
        workers = [start_extraction(str(folder), request_) for _ in range(AT_ONCE)]
        # One moment in each fiftieth of a run's time, so that every part of a run is met.
        time.sleep((trial + chance.random()) / N_KILLS * seconds)
        killed = workers[: chance.randint(1, AT_ONCE)]
        for worker in killed:
            kill(worker)
        survivors = workers[len(killed) :] or [start_extraction(str(folder), request_)]
        assert all(ended_well(worker) for worker in survivors), trial
        require_as(undisturbed, folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "step", [(PooledJob, "run"), (LocalStorage, "create"), (Ledger, "commit"), (Ledger, "record")]
)
def test_a_worker_frozen_past_its_lease_does_no_harm_when_it_wakes(
    step: tuple[type, str],
    template: Path,
    request_: ExtractionRequest,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    request, folder = replace(request_, lease_seconds=0.5), tmp_path / "s.zarr"
    shutil.copytree(template, folder)
    frozen = start(_extract_and_freeze, *step, folder, request)
    wait_until(lambda: is_stopped(frozen))
    assert ended_well(start_extraction(str(folder), request))
    require_as(undisturbed, folder)
    kill(frozen, signal.SIGCONT)
    assert ended_well(frozen)
    require_as(undisturbed, folder)


def _extract_and_freeze(kind: type, name: str, folder: Path, request: ExtractionRequest) -> None:
    """Extract, stopped before the method is called at a shard for the second time."""
    original, calls = getattr(kind, name), itertools.count(1)

    def freezing(self: Any, *args: Any, **kwargs: Any) -> Any:
        at_shard = kind is not LocalStorage or "/c.0." in args[0]
        if at_shard and next(calls) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(self, *args, **kwargs)

    setattr(kind, name, freezing)
    extract(open_store(folder), request)


def _seconds_of_a_run(template: Path, request: ExtractionRequest, folder: Path) -> float:
    """How long two workers take that are not disturbed."""
    for _ in range(2):  # the first one starts what the later ones are forked from
        shutil.copytree(template, folder)
        start = time.monotonic()
        workers = [start_extraction(str(folder), request) for _ in range(AT_ONCE)]
        assert all(ended_well(worker) for worker in workers)
        seconds = time.monotonic() - start
        shutil.rmtree(folder)
    return seconds
