"""Small arrays under a key that says all they depend on: fits, and the values of single texts.

What was fitted on stored states and is used again (means, whitening matrices) is in `fits`, what
metrics are means of in `metrics/values`. A file is written once and never changed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.store.storage import Storage, join
from actstore.store.zarr_metadata import DOCUMENT, write_group

FITS = "fits"
METRIC_VALUES = "metrics/values"


def read_kept(storage: Storage, folder: str, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays kept under a key, by their names, or None where there are none."""
    try:
        data = storage.read(_place(folder, key))
    except FileNotFoundError:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def keep(storage: Storage, folder: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays. key: says all that they depend on. The first of several that make them stays."""
    parts = folder.split("/")
    for depth in range(len(parts)):
        group = "/".join(parts[: depth + 1])
        if not storage.exists(join(group, DOCUMENT)):
            write_group(storage, group, {})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with suppress(FileExistsError):
        storage.create(_place(folder, key), buffer.getbuffer())


def _place(folder: str, key: str) -> str:
    return join(folder, f"{xxhash.xxh3_128_hexdigest(key.encode())}.npz")
