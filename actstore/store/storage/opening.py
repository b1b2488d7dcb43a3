"""From a store's path or URL to its storage."""

from __future__ import annotations

import os
from pathlib import Path

from actstore.errors import InvalidInputError
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
    raise InvalidInputError(
        f"{text}: stores are kept on file systems; {scheme}:// is not supported yet. "
        "Give a local or mounted path, for instance ./pythia.zarr"
    )
