"""Small arrays under a key that says all they depend on: fits, and the values of single texts.

What was fitted on stored states and is used again (means, whitening matrices) is in `fits`, what
metrics are means of in `metrics/values`. A file is written once and never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import xxhash
from numpy.typing import NDArray

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records.damage import Damage
from actstore.store.records.sealing import read_sealed_arrays, seal_damage, sealed_arrays
from actstore.store.storage import Storage, join

FITS = "fits"
METRIC_VALUES = "metrics/values"
_FILE = ".npz"


def read_kept(storage: Storage, folder: str, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays kept under a key, by their names, or None where there are none.

    Raises CorruptShardError for a file that is damaged, or another key's.
    """
    try:
        return read_sealed_arrays(storage, _place(folder, key))
    except FileNotFoundError:
        return None


def keep(storage: Storage, folder: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays. key: says all that they depend on. The first of several that make them stays."""
    parts = folder.split("/")
    for depth in range(len(parts)):
        group = "/".join(parts[: depth + 1])
        if not storage.exists(join(group, DOCUMENT)):
            write_group(storage, group, {})
    place = _place(folder, key)
    with suppress(FileExistsError):
        storage.create(place, sealed_arrays(place, arrays))


def damage(storage: Storage, folder: str, *, quick: bool) -> Iterator[Damage]:
    """What is wrong with the files of a folder; all are made again once they are gone."""
    for name in storage.names(folder):
        if name.endswith(_FILE):
            yield from seal_damage(storage, join(folder, name), quick=quick, remade=True)


def _place(folder: str, key: str) -> str:
    return join(folder, xxhash.xxh3_128_hexdigest(key.encode()) + _FILE)
