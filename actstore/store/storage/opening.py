"""From a store's path or URL to its storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.store.storage.base import Storage
from actstore.store.storage.local import LocalStorage


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """The storage behind a store's path or URL. Raises InvalidInputError for other kinds."""
    text = os.fspath(url)
    scheme, found, rest = text.partition("://")
    if not found:
        return LocalStorage(Path(text).expanduser())
    if scheme == "file":
        return LocalStorage(Path(rest))
    if scheme in _OBJECT_STORES:
        return _OBJECT_STORES[scheme](text.rstrip("/"))
    raise InvalidInputError(
        f"{text}: stores are kept on file systems and in s3:// buckets; {scheme}:// is not "
        "supported yet. Give a local or mounted path, for instance ./pythia.zarr"
    )


def _s3(url: str) -> Storage:
    try:
        from actstore.store.storage.s3 import open_s3
    except ModuleNotFoundError as error:
        raise _missing(url, "s3") from error
    return open_s3(url)


def _memory(url: str) -> Storage:
    try:
        from actstore.store.storage.memory import open_memory
    except ModuleNotFoundError as error:
        raise _missing(url, "s3") from error
    return open_memory(url)


def _missing(url: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(f'{url} needs more. Run: pip install "actstore[{extra}]"')


_OBJECT_STORES: dict[str, Callable[[str], Storage]] = {"s3": _s3, "memory": _memory}
