"""Stores at URLs that can only be read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import InvalidInputError, StorageError
from actstore.store import open_store
from actstore.store.storage import open_storage
from tests.support.states import MODEL, known_states, known_store
from tests.support.web_server import web_server


def test_every_way_of_writing_says_how_to_go_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("s.zarr/key", b"data")
    storage = open_storage(f"zip://s.zarr::{tmp_path}/s.zip")
    refused = pytest.raises(InvalidInputError, match=f"actstore copy {storage.url} ./store.zarr")
    for write in (storage.create, storage.replace, storage.append):
        with refused:
            write("key", b"")
    with refused:
        storage.share("key", "key2")
    for remove in (storage.delete, storage.delete_below):
        with refused:
            remove("key")
    assert storage.read("key") == b"data"


def test_a_store_on_the_web_gives_the_states_that_were_put_in(tmp_path: Path) -> None:
    _, group = known_store(tmp_path / "s.zarr")
    rows = np.array([3, 70, 299])
    with web_server(tmp_path) as url:
        store = open_store(f"{url}/s.zarr")
        states = store.embeddings(MODEL, checkpoint="step1", layer=2, pooling="mean", rows=rows)
    np.testing.assert_array_equal(states, known_states(rows, group.spec)[2])


def test_a_server_without_ranges_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789")
    with web_server(tmp_path, ranges=False) as url:
        storage = open_storage(url)
        with storage.open("key") as reader, pytest.raises(StorageError, match="nginx"):
            reader.read_into(2, memoryview(bytearray(3)))
        assert storage.read("key") == b"0123456789"


def test_a_server_without_listings_does_not_look_like_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_bytes(b"{}")
    with web_server(tmp_path, listings=False) as url:
        storage = open_storage(url)
        for listing in (storage.names, storage.objects):
            with pytest.raises((InvalidInputError, StorageError), match="list|Forbidden"):
                listing("")


def test_what_was_added_after_a_listing_is_in_the_next(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    with web_server(tmp_path) as url:
        storage = open_storage(url)
        assert storage.names("") == ["one"]
        (tmp_path / "two").write_bytes(b"2")
        assert storage.names("") == ["one", "two"]
        assert [o.size for o in storage.objects("")] == [0, 1]


def test_a_server_that_is_gone_is_no_empty_store(tmp_path: Path) -> None:
    with web_server(tmp_path) as url:
        storage = open_storage(url)
    with pytest.raises(StorageError, match="did not give"):
        storage.read("zarr.json")
