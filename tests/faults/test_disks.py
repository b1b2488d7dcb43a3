"""Disks that are full, fail or may no longer be written: a clear error, and nothing is lost.

What the system refuses is injected at a random call or byte; a full and a read-only disk are real
ones too, where a small file system may be mounted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from actstore.errors import StorageError
from actstore.store.sharing.sweeping import sweep
from actstore.store.storage import LocalStorage
from tests.faults.writing import FORK, check_commits, read, require_finished, write
from tests.support.disks import make_read_only, make_writable, mount_small
from tests.support.faults import CHANGES, READS, Failing, Fault, Full, Short, broken

pytestmark = pytest.mark.faults
Trials = Callable[[int, int], Iterator[str]]
FINISHED, REFUSED, NOT_ALLOWED = 0, 3, 77
N_BYTES, N_CHANGES, N_READS = 150_000, 1400, 1500
"""About as many as a run writes, makes and reads."""
LARGE = 16 << 20

FAULTS: dict[str, tuple[Callable[[Random], Fault], str]] = {
    "full": (lambda r: Full(r.randrange(N_BYTES)), "No space left on device. Make space there"),
    "quota": (
        lambda r: Full(r.randrange(N_BYTES), errno.EDQUOT),
        "Disk quota exceeded. Make space there, or ask for a larger quota",
    ),
    "read-only": (
        lambda r: Failing(CHANGES, r.randrange(N_CHANGES), errno.EROFS, lasting=True),
        "Read-only file system. Copy the store to where it can be written",
    ),
    "permission lost": (
        lambda r: Failing(CHANGES | READS, r.randrange(N_CHANGES), errno.EACCES, lasting=True),
        "Permission denied. Ask its owner",
    ),
    "a write fails": (
        lambda r: Failing(CHANGES, r.randrange(N_CHANGES), lasting=r.random() < 0.5),
        "Input/output error. The disk fails",
    ),
    "a read fails": (
        lambda r: Failing(READS, r.randrange(N_READS), lasting=r.random() < 0.5),
        "Input/output error. The disk fails",
    ),
    "a file server forgets": (
        lambda r: Failing(READS, r.randrange(N_READS), errno.ESTALE, lasting=r.random() < 0.5),
        "The file server has lost sight of it",
    ),
}
"""What to inject, and what the error says."""


def _attempt(path: Path, fault: Fault, seed: int, said: Path) -> None:
    """Write in this process, which then ends: what it could not remove is a dead one's."""
    try:
        with broken(fault):
            write(path, seed)
    except StorageError as error:
        said.write_text(str(error))
        sys.exit(REFUSED)
    except BaseException:
        said.write_text(traceback.format_exc())
        raise


def _attempted(path: Path, fault: Fault, seed: int) -> tuple[int, str]:
    """How a writer that meets a fault ended, and what it said."""
    said = path.with_suffix(".said")
    said.unlink(missing_ok=True)
    process = FORK.Process(target=_attempt, args=(path, fault, seed, said))
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode, said.read_text() if said.exists() else ""


@pytest.mark.parametrize("kind", FAULTS)
def test_a_disk_that_fails_is_named_and_the_next_run_finishes(
    kind: str, folder: Path, undisturbed: dict[str, bytes], trials: Trials
) -> None:
    make, says = FAULTS[kind]
    n_refused = 0
    for trial in trials(4, 50):
        order, path = Random(kind + trial), folder / f"{trial.replace('/', '-')}.zarr"
        code, said = _attempted(path, make(order), 1)
        assert code in (FINISHED, REFUSED), said
        if code == REFUSED:
            n_refused += 1
            assert says in said
            assert str(path) in said
        if path.exists():
            read(path)
            check_commits(path)
            sweep(LocalStorage(path))
        assert _attempted(path, Full(LARGE), 2) == (FINISHED, "")
        require_finished(path, undisturbed)
    assert n_refused > 0


def test_a_write_and_a_read_that_move_a_few_bytes_at_once_move_all(
    folder: Path, undisturbed: dict[str, bytes], trials: Trials
) -> None:
    for trial in trials(2, 10):
        path = folder / f"{trial.replace('/', '-')}.zarr"
        with broken(Short(Random(trial).choice((1, 13, 100, 4096)))):
            write(path)
            require_finished(path, undisturbed)


def test_a_reader_whose_disk_fails_is_told_and_reads_no_wrong_number(
    folder: Path, trials: Trials
) -> None:
    path = folder / "s.zarr"
    write(path)
    with broken(Failing(READS, 10**9)) as counted:
        read(path, whole=True)
    for trial in trials(10, 50):
        with (
            broken(Failing(READS, Random(trial).randrange(counted.n_calls), lasting=True)),
            pytest.raises(StorageError, match="Input/output error"),
        ):
            read(path, whole=True)
    read(path, whole=True)


def on_a_small_disk(test: Callable[..., None], *arguments: object) -> None:
    """Run a test in a process that may mount file systems of its own."""
    process = FORK.Process(target=_run, args=(test, arguments))
    process.start()
    process.join(120)
    if process.exitcode == NOT_ALLOWED:
        pytest.skip("mounting a file system is not allowed here")
    assert process.exitcode == 0


def _run(test: Callable[..., None], arguments: tuple[object, ...]) -> None:
    try:
        test(*arguments)
    except PermissionError as error:
        if error.errno == errno.EPERM:
            sys.exit(NOT_ALLOWED)
        raise


def test_a_real_disk_that_fills_up_or_becomes_read_only(
    tmp_path: Path, undisturbed: dict[str, bytes], trials: Trials
) -> None:
    for trial in trials(2, 50):
        on_a_small_disk(_filled_up, tmp_path, Random(trial), undisturbed)


def _filled_up(folder: Path, order: Random, undisturbed: dict[str, bytes]) -> None:
    disk, path = folder / "disk", folder / "disk" / "s.zarr"
    mount_small(disk, order.randrange(1 << 16, 1 << 19))  # a run takes somewhat more
    with pytest.raises(StorageError, match="s.zarr/.*No space left on device. Make space there"):
        write(path)
    assert LocalStorage(path).unfinished("") == []
    make_read_only(disk)
    with pytest.raises(StorageError, match="s.zarr.*Read-only file system. Copy the store"):
        write(path)
    read(path)
    check_commits(path)
    make_writable(disk, LARGE)
    write(path)
    require_finished(path, undisturbed)


def test_a_folder_that_may_not_be_written_any_more_is_named(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    path = folder / "s.zarr"
    write(path)
    table = path / "texts"
    table.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="texts.*Permission denied. Ask its owner"):
            LocalStorage(path).create("texts/new", b"")
    finally:
        table.chmod(0o755)
    require_finished(path, undisturbed)
