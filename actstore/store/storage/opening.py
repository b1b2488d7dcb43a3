"""From a store's path or URL to its storage."""

from __future__ import annotations

import os
from pathlib import Path
from tarfile import TarError
from zipfile import BadZipFile

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.store.storage.base import Storage
from actstore.store.storage.local import LocalStorage
from actstore.store.storage.readonly import ReadOnlyStorage

_WHAT_WORKS = (
    "Give a path (./pythia.zarr), s3://BUCKET/NAME.zarr or, only to read, hf://datasets/USER/REPO, "
    "https://HOST/NAME.zarr or zip://NAME.zarr::/PATH/NAME.zip"
)
_EXTRA = {"s3": "s3", "memory": "s3"}
"""What installs what a kind of URL needs, if not `remote`."""


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """The storage behind a store's path or URL.

    Raises InvalidInputError for kinds of URL that do not work, MissingDependencyError for those
    whose packages are not installed.
    """
    text = os.fspath(url)
    scheme, found, rest = text.partition("://")
    if not found:
        return LocalStorage(Path(text).expanduser())
    if scheme == "file":
        return LocalStorage(Path(rest))
    try:
        return _opened(scheme, f"{scheme}://{rest.rstrip('/')}")
    except ImportError as error:
        raise MissingDependencyError(
            f"{text} cannot be opened: {error}. "
            f'Run: pip install "actstore[{_EXTRA.get(scheme, "remote")}]"'
        ) from error


def _opened(scheme: str, url: str) -> Storage:
    if scheme == "s3":
        from actstore.store.storage.s3 import open_s3

        return open_s3(url)
    if scheme == "memory":
        from actstore.store.storage.memory import open_memory

        return open_memory(url)
    return _read_only(scheme, url)


def _read_only(scheme: str, url: str) -> Storage:
    """Whatever fsspec opens. What it has listed is not kept: a store may grow while it is open."""
    import fsspec

    if scheme.split("::")[0] not in fsspec.available_protocols():
        raise InvalidInputError(f"{url}: {scheme}:// is no kind of URL for stores. {_WHAT_WORKS}")
    try:
        files, root = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except (OSError, ValueError, BadZipFile, TarError) as error:
        raise InvalidInputError(f"{url} cannot be opened: {error}. Check the path.") from error
    return ReadOnlyStorage(files, root, url)
