from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.writing import contents, write

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder; in memory where there is one, since kills are not what `fsync` is for."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a store holds that nothing disturbed."""
    path = tmp_path_factory.mktemp("undisturbed") / "s.zarr"
    write(path)
    return contents(path)


@pytest.fixture
def trials(
    fault_trials: Callable[[int, int], int], fault_seed: int
) -> Callable[[int, int], Iterator[str]]:
    """`trials(short, full)`: what each trial seeds its random numbers with; it is printed too."""

    def numbered(short: int, full: int) -> Iterator[str]:
        for number in range(fault_trials(short, full)):
            sys.stdout.write(f"trial {fault_seed}/{number}\n")
            yield f"{fault_seed}/{number}"

    return numbered
