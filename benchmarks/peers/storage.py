"""Other storages on the data of `benchmarks.store`: each reads and writes as its manual advises.

zarr-python, zarrs and TensorStore read the very files of the store, and write the same shard;
h5py has the same chunks, with its own checksum (fletcher32). The floors run in turn with them, in
the same process; what is read is compared with the memory map. Whether they check is tried: with a
small array of theirs in which a bit of a value is flipped.

    python -m benchmarks.peers.storage PEER FOLDER ARRAY ROUNDS SIZES
"""

from __future__ import annotations

import json
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import paired_costs, ratios
from benchmarks.store_data import Rows, Sizes, StoreData, flush_files, runs_of

WRITE, LAYER, IN_ORDER, SCATTERED = "write", "layer", "in order", "scattered"
H5 = "states.h5"


class Storage(ABC):
    """One way to keep the data."""

    def __init__(self, data: StoreData) -> None:
        self.data = data

    @abstractmethod
    def layer(self) -> np.ndarray:
        """All rows of the layer."""

    @abstractmethod
    def rows(self, rows: Rows) -> np.ndarray:
        """Rows of the layer, ascending."""

    @staticmethod
    @abstractmethod
    def write(states: np.ndarray, path: Path, sizes: Sizes) -> None:
        """Write one shard with checksums."""


class ZarrPython(Storage):
    """With its own pipeline of codecs."""

    def __init__(self, data: StoreData) -> None:
        import zarr

        super().__init__(data)

        self.array: Any = zarr.open_array(data.array, mode="r")

    def layer(self) -> np.ndarray:
        at = self.data.layer
        found: np.ndarray = self.array[at : at + 1][0]  # faster than an index in every pipeline
        return found

    def rows(self, rows: Rows) -> np.ndarray:
        at, runs = self.data.layer, list(runs_of(rows))
        if len(runs) == 1:
            return self.array[at : at + 1, runs[0]][0]  # type: ignore[no-any-return]
        return self.array.oindex[at, rows]  # type: ignore[no-any-return]

    @staticmethod
    def write(states: np.ndarray, path: Path, sizes: Sizes) -> None:
        import zarr

        array = zarr.create_array(
            path,
            shape=states.shape,
            dtype="float16",
            shards=states.shape,
            chunks=(1, sizes.chunk, sizes.hidden),
            compressors=zarr.codecs.Crc32cCodec(),
            fill_value=float("nan"),
            config={"write_empty_chunks": True},
        )
        array[...] = states


class Zarrs(ZarrPython):
    """zarr-python with the pipeline of codecs that is written in Rust."""

    def __init__(self, data: StoreData) -> None:
        import zarr
        import zarrs  # noqa: F401  (registers its pipeline)

        rust = {"path": "zarrs.ZarrsCodecPipeline", "validate_checksums": True}
        zarr.config.set({f"codec_pipeline.{name}": value for name, value in rust.items()})
        super().__init__(data)


class TensorStore(Storage):
    """Its `zarr3` driver, without a cache."""

    def __init__(self, data: StoreData) -> None:
        super().__init__(data)
        self.array = self._open({"path": f"{data.array}/"}, open=True)

    def layer(self) -> np.ndarray:
        return self.array[self.data.layer].read().result()  # type: ignore[no-any-return]

    def rows(self, rows: Rows) -> np.ndarray:
        runs = list(runs_of(rows))
        wanted = runs[0] if len(runs) == 1 else rows
        return self.array[self.data.layer, wanted].read().result()  # type: ignore[no-any-return]

    @staticmethod
    def write(states: np.ndarray, path: Path, sizes: Sizes) -> None:
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        codecs = [little, {"name": "crc32c"}]
        sharding = {
            "chunk_shape": [1, sizes.chunk, sizes.hidden],
            "codecs": codecs,
            "index_codecs": codecs,
        }
        metadata = {
            "shape": states.shape,
            "data_type": "float16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": states.shape}},
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            "fill_value": "NaN",
        }
        array = TensorStore._open({"path": f"{path}/"}, create=True, metadata=metadata)
        array.write(states).result()

    @staticmethod
    def _open(where: dict[str, str], metadata: Any = None, **how: bool) -> Any:
        import tensorstore

        spec: dict[str, Any] = {"driver": "zarr3", "kvstore": {"driver": "file", **where}}
        if metadata:
            spec |= {"metadata": metadata, "store_data_equal_to_fill_value": True}
        return tensorstore.open(spec, **how).result()


class H5py(Storage):
    """One file; it checks fletcher32, which finds less than a crc32c."""

    def __init__(self, data: StoreData) -> None:
        super().__init__(data)
        import h5py

        path = data.folder / H5
        if not path.exists():
            self.write(data.states(), path, data.sizes)
        self.array: Any = h5py.File(path, "r")["states"]

    def layer(self) -> np.ndarray:
        return self.array[self.data.layer]  # type: ignore[no-any-return]

    def rows(self, rows: Rows) -> np.ndarray:
        """Run by run: lists of indices are its slowest way."""
        return np.concatenate([self.array[self.data.layer, run] for run in runs_of(rows)])

    @staticmethod
    def write(states: np.ndarray, path: Path, sizes: Sizes) -> None:
        import h5py

        chunks = (1, sizes.chunk, sizes.hidden)
        with h5py.File(path, "w") as file:
            file.create_dataset("states", data=states, chunks=chunks, fletcher32=True)


PEERS: dict[str, type[Storage]] = {
    "zarr-python": ZarrPython,
    "zarrs": Zarrs,
    "tensorstore": TensorStore,
    "h5py": H5py,
}


def reading_cases(
    storage: Storage,
) -> dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]]:
    """By what is read: the floor and the storage."""
    data = storage.data
    states, at = data.states(), data.layer
    near, far = data.in_order(), data.scattered()
    return {
        LAYER: (data.read_layer, storage.layer),
        IN_ORDER: (lambda: states[at, near], lambda: storage.rows(near)),
        SCATTERED: (lambda: states[at, far], lambda: storage.rows(far)),
    }


def checks(name: str, folder: Path) -> dict[str, bool]:
    """By what is read: whether a flipped bit is an error."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    sizes = Sizes(layers=2, texts=512, hidden=64, task=200, shard=512, chunk=64)
    data = StoreData(folder, folder / ("array" if name != "h5py" else H5), sizes)
    rng = np.random.default_rng(0)
    states = rng.standard_normal((sizes.layers, sizes.texts, sizes.hidden), np.float32)
    np.save(data.npy, states.astype(np.float16))
    writer = H5py if name == "h5py" else ZarrPython
    writer.write(data.states(), data.array, sizes)
    damage(data)
    storage = PEERS[name](data)
    return {
        LAYER: _fails(storage.layer),
        IN_ORDER: _fails(lambda: storage.rows(data.in_order())),
        SCATTERED: _fails(lambda: storage.rows(data.scattered())),
    }


def damage(data: StoreData) -> None:
    """Flip a bit of a value that all reads of the layer need."""
    row = np.intersect1d(data.in_order(), data.scattered())[0]
    wanted = data.states()[data.layer, row].tobytes()
    for path in [data.array, *data.array.rglob("*")]:
        if path.is_file() and (at := (raw := bytearray(path.read_bytes())).find(wanted)) >= 0:
            raw[at] ^= 1
            path.write_bytes(raw)
            return
    raise AssertionError("the row is in no file as it is")


def _fails(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ValueError, OSError):
        return True
    return False


def measure(name: str, data: StoreData, rounds: int) -> dict[str, dict[str, Any]]:
    """The ratios to the floors, by what is done. Raises AssertionError if what is read is wrong."""
    storage = PEERS[name](data)
    found: dict[str, dict[str, Any]] = {"checks": checks(name, data.folder / "damaged")}
    for what, (floor, run) in reading_cases(storage).items():
        np.testing.assert_array_equal(floor().view(np.float16).ravel(), run().ravel())
        found[what] = _ratio(floor, run, rounds)
    states = data.shard_states()

    def write() -> None:
        path = data.new_path()
        storage.write(states, path, data.sizes)
        flush_files(path)

    found[WRITE] = _ratio(lambda: data.write_bytes(states.data.cast("B")), write, rounds)
    data.remove_written()
    return found


def _ratio(floor: Callable[[], object], run: Callable[[], object], rounds: int) -> dict[str, float]:
    costs = paired_costs({"floor": floor, "storage": run}, rounds)
    return asdict(ratios(costs["storage"], costs["floor"]))


def main() -> None:
    name, folder, array, rounds, sizes = sys.argv[1:]
    data = StoreData(Path(folder), Path(array), Sizes(**json.loads(sizes)))
    print(json.dumps(measure(name, data, int(rounds))))


if __name__ == "__main__":
    main()
