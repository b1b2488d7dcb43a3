"""A store with one of everything, made once, and a loop of altered ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Leases
from tests.store.moving.full_store import full_store

Case = TypeVar("Case")
Fuzz = Callable[[SearchStrategy[Any], Callable[[Any], None]], None]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that nothing is wrong with."""
    store = full_store(tmp_path_factory.mktemp("sound"))
    log = RunLog(store.storage, command=["actstore", "extract"], settings={"model": "a/b"})
    log.event("error", error="ValueError", message="no", model="a/b", checkpoint="main")
    log.event("stage", stage="eval", state="began", share="0/2")
    leases = Leases(store.storage, seconds=3600)
    assert leases.claim("a/b/main/3") is not None
    return store.path


@pytest.fixture
def fuzz(fault_trials: Callable[[int, int], int], fault_seed: int) -> Fuzz:
    """`fuzz(cases, law)`: hold a law for cases, few or many as `--fault-trials` says."""

    def hold(cases: SearchStrategy[Any], law: Callable[[Any], None]) -> None:
        @seed(fault_seed)
        @settings(
            max_examples=fault_trials(10, 150),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def run(case: Any) -> None:
            law(case)

        run()

    return hold
