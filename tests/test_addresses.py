"""Addresses of stores: paths become absolute, URLs stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.addresses import absolute, beside, is_url

URLS = ("s3://bucket/deep/x.zarr", "memory://x", "zip:///data/x.zip", "hf://datasets/a/b/x.zarr")


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_the_same_from_everywhere(url: str) -> None:
    assert is_url(url)
    assert absolute(url) == url


def test_a_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("x.zarr") == str(tmp_path / "x.zarr")
    assert absolute(Path("x.zarr")) == str(tmp_path / "x.zarr")
    assert absolute("~/x.zarr") == str(tmp_path / "home" / "x.zarr")
    assert absolute(f"file://{tmp_path}/x.zarr") == str(tmp_path / "x.zarr")


def test_what_belongs_to_a_store_is_beside_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for store in ("data/x.zarr", "data/x.zarr/", tmp_path / "data" / "x.zarr"):
        assert beside(store, ".runs") == tmp_path / "data" / "x.zarr.runs"


def test_what_belongs_to_a_url_is_in_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert beside("s3://bucket/deep/x.zarr/", ".runs") == tmp_path / "bucket__deep__x.zarr.runs"
