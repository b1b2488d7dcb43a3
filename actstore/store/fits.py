"""What was fitted on stored states and is used again: means, whitening matrices."""

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

_FOLDER = "fits"


def read_fit(storage: Storage, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays of a fit by their names, or None where it was not made yet."""
    try:
        data = storage.read(_place(key))
    except FileNotFoundError:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def write_fit(storage: Storage, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep a fit. key: says all that it depends on. The first of several that make it stays."""
    if not storage.exists(join(_FOLDER, DOCUMENT)):
        write_group(storage, _FOLDER, {})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with suppress(FileExistsError):
        storage.create(_place(key), buffer.getbuffer())


def _place(key: str) -> str:
    return join(_FOLDER, f"{xxhash.xxh3_128_hexdigest(key.encode())}.npz")
