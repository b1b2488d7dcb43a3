"""Files: what goes beyond the contract of a storage."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from actstore.store.storage import LocalStorage


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


def test_sharing_again_changes_nothing(storage: LocalStorage) -> None:
    storage.create("source", b"first")
    for _ in range(2):
        storage.share("source", "folder/key")
        assert storage.read("folder/key") == b"first"
    assert storage.path("source").stat().st_nlink == 2
    assert [p.name for p in storage.path("folder").iterdir()] == ["key"]


def test_bytes_are_copied_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    storage = LocalStorage(tmp_path)
    storage.replace("source", b"bytes")
    storage.share("source", "folder/key")
    assert storage.read("folder/key") == b"bytes"
    assert storage.path("source").stat().st_nlink == 1


def test_a_failed_write_leaves_nothing_behind(storage: LocalStorage) -> None:
    storage.create("folder/key", b"first")
    with pytest.raises(FileExistsError):
        storage.create("folder/key", b"second")
    assert storage.names("folder") == ["key"]
    assert [p.name for p in storage.path("folder").iterdir()] == ["key"]


def test_a_line_that_finds_no_room_leaves_what_was_there(storage: LocalStorage) -> None:
    storage.append("journal", b"one\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, limits[1]))  # room for two bytes more
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.append("journal", b"two\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    storage.append("journal", b"three\n")
    assert storage.read("journal") == b"one\nthree\n"


def test_partial_files_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("a/key", b"x")
    (tmp_path / "a" / "key2.123.partial").write_bytes(b"torn")
    assert storage.names("a") == ["key"]
