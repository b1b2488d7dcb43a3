"""What all storages read and write, and the floors that they stand against.

Only numpy and the standard library: peers import it in an environment of their own.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
_RUNS = 4
_STRAYS = 50
"""One row in so many lies somewhere by itself."""


@dataclass(frozen=True)
class Sizes:
    """Of the states that are read; one shard of them is written."""

    layers: int = 25
    texts: int = 16384
    hidden: int = 1024
    task: int = 10_000
    """Rows of a task."""
    shard: int = 4096
    """Rows of a shard."""
    chunk: int = 256
    """Rows of a chunk."""


@dataclass(frozen=True)
class StoreData:
    """The same states (layer, text, hidden) in float16, in a store's array and in a .npy."""

    folder: Path
    array: Path
    """A folder: the array as Zarr has it."""
    sizes: Sizes

    @property
    def layer(self) -> int:
        return self.sizes.layers // 2

    @property
    def npy(self) -> Path:
        return self.folder / "states.npy"

    def states(self) -> NDArray[np.float16]:
        """A memory map."""
        mapped: NDArray[np.float16] = np.load(self.npy, mmap_mode="r")
        return mapped

    def shard_states(self) -> NDArray[np.float16]:
        """Of the first shard, in memory: what is written."""
        return np.ascontiguousarray(self.states()[:, : self.sizes.shard])

    def in_order(self) -> Rows:
        """The rows of a task whose texts lie one behind the other."""
        start = self.sizes.texts // 5
        return np.arange(start, start + self.sizes.task)

    def scattered(self) -> Rows:
        """The rows of a task in four runs, and strays between them, ascending."""
        sizes, rng = self.sizes, np.random.default_rng(0)
        length = (sizes.task - sizes.task // _STRAYS) // _RUNS
        starts = np.arange(_RUNS) * (sizes.texts // _RUNS) + sizes.chunk // 3
        runs = (starts[:, None] + np.arange(length)).ravel()
        others = np.setdiff1d(np.arange(sizes.texts), runs)
        return np.union1d(runs, rng.choice(others, sizes.task - len(runs), replace=False))

    def read_layer(self) -> NDArray[np.uint8]:
        """The floor of reading a layer: its bytes, into fresh memory, with nothing checked."""
        n_bytes = self.sizes.texts * self.sizes.hidden * 2
        out = np.empty(n_bytes, np.uint8)
        with self.npy.open("rb") as file:
            start = os.fstat(file.fileno()).st_size - (self.sizes.layers - self.layer) * n_bytes
            assert os.preadv(file.fileno(), [out.data], start) == n_bytes
        return out

    def write_bytes(self, data: memoryview) -> None:
        """The floor of writing: a new file, written by one call, flushed."""
        descriptor = os.open(self.new_path(), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            assert os.write(descriptor, data) == len(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def new_path(self) -> Path:
        """Where nothing is yet, in a folder that is there."""
        self._written.mkdir(exist_ok=True)
        return self._written / uuid.uuid4().hex

    def remove_written(self) -> None:
        shutil.rmtree(self._written)

    @property
    def _written(self) -> Path:
        return self.folder / "written"


def runs_of(rows: Rows) -> Iterator[slice]:
    """Ascending rows as ranges that lie one behind the other."""
    ends = np.flatnonzero(np.diff(rows) != 1)
    starts = rows[np.concatenate([[0], ends + 1])]
    stops = rows[np.concatenate([ends, [-1]])] + 1
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        yield slice(start, stop)


def flush_files(path: Path) -> None:
    """Flush a file, or all files in a folder."""
    for one in [path, *path.rglob("*")]:
        if one.is_file():
            descriptor = os.open(one, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
