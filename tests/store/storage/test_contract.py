"""Every storage keeps the contract; those that are only read keep its part about reading."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actstore.store.storage import Storage, open_storage
from actstore.store.storage.contract import CONTENTS, ReadableContract, StorageContract
from tests.support.reading_hub import REPO, reading_hub
from tests.support.web_server import web_server


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return open_storage(tmp_path / "root")


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return open_storage(f"memory://{uuid.uuid4().hex}")


class TestBucket(StorageContract):
    @pytest.fixture
    def storage(self, bucket: str) -> Storage:
        return open_storage(bucket)


class TestFolderOfABucket(StorageContract):
    @pytest.fixture
    def storage(self, bucket: str) -> Storage:
        open_storage(bucket).create("runs/pythia.zarr.old/key", b"another store")
        return open_storage(f"{bucket}/runs/pythia.zarr")


class TestZip(ReadableContract):
    @pytest.fixture
    def filled(self, tmp_path: Path) -> Storage:
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            for key, data in CONTENTS.items():
                archive.writestr(f"s.zarr/{key}", data)
        return open_storage(f"zip://s.zarr::{tmp_path}/s.zip")


class TestRootOfAZip(ReadableContract):
    @pytest.fixture
    def filled(self, tmp_path: Path) -> Storage:
        with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for key, data in CONTENTS.items():
                archive.writestr(key, data)
        return open_storage(f"zip://::{tmp_path}/s.zip")


class TestWeb(ReadableContract):
    @pytest.fixture
    def filled(self, tmp_path: Path) -> Iterator[Storage]:
        local = open_storage(tmp_path / "s.zarr")
        for key, data in CONTENTS.items():
            local.create(key, data)
        with web_server(tmp_path) as url:
            yield open_storage(f"{url}/s.zarr")


class TestHub(ReadableContract):
    @pytest.fixture
    def filled(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
        files = {f"s.zarr/{key}": data for key, data in CONTENTS.items()}
        with reading_hub(monkeypatch, files):
            yield open_storage(f"hf://datasets/{REPO}/s.zarr")
