"""In which order the disk is told: kills cannot show what a loss of power would."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actstore.errors import StorageError
from actstore.store.records.journal import append_records, read_records
from actstore.store.storage import LocalStorage, local
from tests.support.faults import Failing, broken

CALLS = ("mkdir", "write", "fsync", "link", "replace", "unlink")


class Recording:
    """`os`, which keeps what changes the disk, with the names of what was changed."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._names: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "open":
            return self._opening(real)
        return self._kept(name, real) if name in CALLS else real

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Path, *arguments: Any) -> int:
            descriptor = real(path, *arguments)
            self._names[descriptor] = self._short(path)
            return descriptor

        return call

    def _kept(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            of = arguments[-1] if name in ("link", "replace") else arguments[0]
            short = self._names[of] if isinstance(of, int) else self._short(of)
            self.said.append(f"{name} {short}")
            return real(*arguments)

        return call

    @staticmethod
    def _short(path: Path) -> str:
        return "partial" if path.name.endswith(".partial") else path.name


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    recording = Recording()
    monkeypatch.setattr(local, "os", recording)
    return recording.said


WRITTEN = ["write partial", "fsync partial"]
_GONE = ["unlink partial"]
"""Tried once more in the end, whatever happened."""


def test_an_object_is_flushed_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, said: list[str]
) -> None:
    LocalStorage(tmp_path).create("key", b"bytes")
    assert said == [*WRITTEN, "link key", "unlink partial", f"fsync {tmp_path.name}", *_GONE]
    said.clear()
    LocalStorage(tmp_path).replace("key", b"bytes")
    assert said == [*WRITTEN, "replace key", f"fsync {tmp_path.name}", *_GONE]


def test_the_names_of_new_folders_are_flushed_from_the_root_down(
    tmp_path: Path, said: list[str]
) -> None:
    storage = LocalStorage(tmp_path / "s.zarr")
    storage.create("a/b/key", b"bytes")
    made = ["mkdir s.zarr", f"fsync {tmp_path.name}"]
    made += ["mkdir a", "fsync s.zarr", "mkdir b", "fsync a"]
    assert said[: len(made)] == made
    said.clear()
    storage.create("a/b/other", b"bytes")
    assert said[0] == WRITTEN[0]


def test_a_folder_that_another_process_made_is_flushed_too(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    LocalStorage(tmp_path).create("a/b/key", b"bytes")
    assert said[:3] == [f"fsync {tmp_path.name}", "fsync a", WRITTEN[0]]


def test_who_is_told_that_an_object_exists_may_rely_on_its_name(
    tmp_path: Path, said: list[str]
) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("key", b"first")
    said.clear()
    with pytest.raises(FileExistsError):
        storage.create("key", b"second")
    assert said[2:] == ["link key", f"fsync {tmp_path.name}", "unlink partial"]


def test_a_line_and_the_name_of_a_new_journal_are_flushed(tmp_path: Path, said: list[str]) -> None:
    storage = LocalStorage(tmp_path)
    storage.append("journal", b"line\n")
    assert said == ["write journal", "fsync journal", f"fsync {tmp_path.name}"]
    said.clear()
    storage.append("journal", b"line\n")
    assert said == ["write journal", "fsync journal"]


def test_what_is_deleted_stays_deleted(tmp_path: Path, said: list[str]) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("key", b"bytes")
    said.clear()
    storage.delete("key")
    assert said == ["unlink key", f"fsync {tmp_path.name}"]


def test_a_link_whose_answer_was_lost_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def repeated(*arguments: Any) -> None:
        link(*arguments)
        link(*arguments)

    monkeypatch.setattr(os, "link", repeated)
    storage = LocalStorage(tmp_path)
    storage.create("key", b"bytes")
    assert storage.read("key") == b"bytes"
    with pytest.raises(FileExistsError):
        storage.create("key", b"others")


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("key", b"bytes")
    with broken(Failing(frozenset({"read"}), 0, errno.ESTALE)):
        assert storage.read("key") == b"bytes"
    with (
        broken(Failing(frozenset({"read"}), 0, errno.ESTALE, lasting=True)),
        pytest.raises(StorageError, match="key.*lost sight of it"),
    ):
        storage.read("key")


@pytest.fixture
def half_a_line(tmp_path: Path) -> LocalStorage:
    """A storage with a journal in which half a line stands, which could not be cut off."""
    storage = LocalStorage(tmp_path)
    append_records(storage, "journal", [{"number": 1}])

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return fail if name in ("ftruncate", "fsync") else getattr(os, name)

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    local.os = Broken()  # type: ignore[assignment]
    try:
        with pytest.raises(StorageError, match="Input/output error"):
            append_records(storage, "journal", [{"number": 2}])
    finally:
        local.os = os
    (journal,) = (tmp_path / "journal").iterdir()
    journal.write_bytes(journal.read_bytes()[:-10])
    return storage


def test_no_line_follows_half_a_line(half_a_line: LocalStorage) -> None:
    append_records(half_a_line, "journal", [{"number": 3}])
    assert [record["number"] for record in read_records(half_a_line, "journal")] == [1, 3]


def test_a_file_system_without_hard_links_is_named(tmp_path: Path) -> None:
    with (
        broken(Failing(frozenset({"link"}), 0, errno.EPERM)),
        pytest.raises(StorageError, match="key: Operation not permitted.*hard links"),
    ):
        LocalStorage(tmp_path).create("key", b"bytes")
    assert list(tmp_path.iterdir()) == []
