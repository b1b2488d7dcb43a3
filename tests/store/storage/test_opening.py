"""From a URL to its storage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.store.storage import LocalStorage, open_storage
from actstore.store.storage.readonly import ReadOnlyStorage


@pytest.mark.parametrize("url", ["{}/s.zarr", "{}/s.zarr/", "file://{}/s.zarr"])
def test_paths_and_file_urls_are_folders(url: str, tmp_path: Path) -> None:
    storage = open_storage(url.format(tmp_path))
    assert isinstance(storage, LocalStorage)
    assert storage.root == tmp_path / "s.zarr"


def test_the_slash_at_the_end_does_not_matter(bucket: str) -> None:
    open_storage(f"{bucket}/s.zarr/").create("key", b"data")
    assert open_storage(f"{bucket}/s.zarr").read("key") == b"data"


def test_an_unknown_kind_of_url_is_refused_with_those_that_work() -> None:
    with pytest.raises(InvalidInputError, match="s3://BUCKET"):
        open_storage("gopher://bucket/pythia.zarr")


def test_a_bucket_needs_a_name() -> None:
    with pytest.raises(InvalidInputError, match="names no bucket"):
        open_storage("s3:///pythia.zarr")


def test_a_zip_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"Check the path"):
        open_storage(f"zip://s.zarr::{tmp_path}/none.zip")


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "actstore.store.storage.s3", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"actstore\[s3\]\""):
        open_storage("s3://bucket/s.zarr")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"actstore\[remote\]\""):
        open_storage("https://host/s.zarr")


def test_a_plug_in_of_fsspec_that_is_not_installed_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(MissingDependencyError, match="gcsfs"):
        open_storage("gs://bucket/s.zarr")


def test_a_dataset_of_the_hub_is_read_without_asking_it_when_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    storage = open_storage("hf://datasets/org/states@v1/s.zarr/")
    assert isinstance(storage, ReadOnlyStorage)
    assert storage.url == "hf://datasets/org/states@v1/s.zarr"
