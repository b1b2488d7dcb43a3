"""Where stores are, said as a path or a URL: what is true of both without opening either."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = "file://"


def is_url(store: str | os.PathLike[str]) -> bool:
    """Whether this is a URL of something that is no folder here: `s3://bucket/pythia.zarr`."""
    text = os.fspath(store)
    return "://" in text and not text.startswith(_FILE)


def absolute(store: str | os.PathLike[str]) -> str:
    """The same for a process with another working folder: a path becomes absolute, a URL stays."""
    return os.fspath(store) if is_url(store) else str(_path(store).absolute())


def beside(store: str | os.PathLike[str], ending: str) -> Path:
    """The absolute path of what belongs to a store and is no part of it: `/data/pythia.zarr.runs`.

    For a URL it is in the working folder, named after all of the URL but its scheme:
    `s3://bucket/pythia.zarr` -> `./bucket__pythia.zarr.runs`.
    """
    if is_url(store):
        place = os.fspath(store).partition("://")[2].strip("/")
        return Path(place.replace("/", "__") + ending).absolute()
    path = _path(store).absolute()
    return path.with_name(path.name + ending)


def _path(store: str | os.PathLike[str]) -> Path:
    return Path(os.fspath(store).removeprefix(_FILE)).expanduser()
