"""Opening many checkpoints as one dataset, against concatenating what zarr opens.

    python -m benchmarks.opening [--checkpoints 154 --texts 4096 --repeats 3]

The floor reads and parses each checkpoint's zarr.json. No case reads states.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import xarray as xr

from actstore.store import CheckpointSpec, Store, create_store, open_store
from benchmarks.timing import Cases, as_table, best_seconds

MODEL = "benchmark/model"


def build(folder: Path, n_checkpoints: int, n_texts: int) -> Store:
    """A store of checkpoints that were begun: their metadata, no states."""
    store = create_store(folder / "store.zarr")
    store.add_texts([f"text {i}" for i in range(n_texts)])
    layers = tuple(range(25))
    for i in range(n_checkpoints):
        spec = CheckpointSpec(
            MODEL, f"step{i}", 24, layers, 1024, "float16", 64, "t", "w", has_final_norm=True
        )
        store.begin_checkpoint(spec).begin_poolings(["mean"])
    return store


def make_cases(store: Store) -> Cases:
    groups = [store.checkpoint(MODEL, name).prefix for name in store.checkpoints(MODEL)]
    folders = [store.path / prefix for prefix in groups]

    def concatenated() -> xr.Dataset:
        opened = [xr.open_zarr(folder, chunks={}) for folder in folders]
        return xr.concat(opened, dim="checkpoint")

    return {
        "reading zarr.json": lambda: [json.loads((f / "zarr.json").read_text()) for f in folders],
        "store.dataset": lambda: open_store(store.url).dataset(MODEL),
        "xarray.concat": concatenated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=154)
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = build(Path(folder), options.checkpoints, options.texts)
        seconds = best_seconds(make_cases(store), options.repeats)
    print(as_table(f"{options.checkpoints} checkpoints", "reading zarr.json", seconds))


if __name__ == "__main__":
    main()
