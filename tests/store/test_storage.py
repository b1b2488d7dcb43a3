"""The contract of a storage. A new kind is one more parameter of the fixture."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from actstore.errors import CorruptShardError, InvalidInputError
from actstore.store.storage import LocalStorage, Storage, open_storage


@pytest.fixture(params=["local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path / "root")


def test_what_was_created_is_read_back(storage: Storage) -> None:
    storage.create("a/b/c.0", b"12345")
    assert storage.read("a/b/c.0") == b"12345"
    assert storage.exists("a/b/c.0")


def test_creating_twice_fails_and_keeps_the_first(storage: Storage) -> None:
    storage.create("key", b"first")
    with pytest.raises(FileExistsError):
        storage.create("key", b"second")
    assert storage.read("key") == b"first"


def test_replacing_takes_the_place_of_what_was_there(storage: Storage) -> None:
    storage.replace("key", b"first")
    storage.replace("key", b"second, longer")
    assert storage.read("key") == b"second, longer"


def test_what_is_shared_outlives_the_source_and_does_not_follow_it(storage: Storage) -> None:
    storage.create("a/source", b"first")
    storage.create("b/kept", b"before")
    for key in ("b/new", "b/kept"):
        storage.share("a/source", key)
    storage.replace("a/source", b"second")
    storage.share("a/source", "c/deleted")
    storage.delete("c/deleted")
    assert [storage.read(f"b/{name}") for name in ("new", "kept")] == [b"first"] * 2
    assert storage.read("a/source") == b"second"
    storage.delete("a/source")
    assert storage.read("b/new") == b"first"
    with pytest.raises(FileNotFoundError):
        storage.share("a/source", "b/kept")
    assert storage.read("b/kept") == b"first"


def test_sharing_again_changes_nothing(storage: Storage) -> None:
    storage.create("source", b"first")
    for _ in range(2):
        storage.share("source", "folder/key")
        assert storage.read("folder/key") == b"first"
    if isinstance(storage, LocalStorage):
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


def test_a_failed_write_leaves_nothing_behind(storage: Storage) -> None:
    storage.create("folder/key", b"first")
    with pytest.raises(FileExistsError):
        storage.create("folder/key", b"second")
    assert storage.names("folder") == ["key"]
    if isinstance(storage, LocalStorage):
        assert [p.name for p in storage.path("folder").iterdir()] == ["key"]


def test_lines_are_appended(storage: Storage) -> None:
    storage.append("journal", b"one\n")
    storage.append("journal", b"two\n")
    assert storage.read("journal") == b"one\ntwo\n"


def test_a_line_that_finds_no_room_leaves_what_was_there(storage: Storage) -> None:
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


def test_a_reader_reads_ranges_and_says_when_the_object_is_too_short(storage: Storage) -> None:
    storage.create("key", bytes(range(100)))
    with storage.open("key") as reader:
        buffer = bytearray(10)
        reader.read_into(40, memoryview(buffer))
        assert bytes(buffer) == bytes(range(40, 50))
        assert reader.size == 100
        with pytest.raises(CorruptShardError, match="5 bytes early"):
            reader.read_into(95, memoryview(buffer))


def test_missing_objects_are_file_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")
    with pytest.raises(FileNotFoundError), storage.open("nothing"):
        pass
    assert storage.names("nothing") == []
    storage.delete("nothing")
    assert not storage.exists("nothing")


def test_partial_files_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("a/key", b"x")
    (tmp_path / "a" / "key2.123.partial").write_bytes(b"torn")
    assert storage.names("a") == ["key"]


def test_other_kinds_of_url_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="ftp://"):
        open_storage("ftp://bucket/pythia.zarr")
