"""Reading pooled states from a store, against a plain memory map and zarr-python.

    python -m benchmarks.reading [--texts 16384 --layers 25 --hidden 1024 --repeats 7]

All cases give float32 from float16 on a warm page cache. The store and zarr-python check every
crc32c they read; the memory map checks nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr

from actstore.store import CheckpointSpec, ShardStats, create_store
from benchmarks.timing import Cases, as_table, best_seconds

MODEL = "benchmark/model"
STATS = ShardStats(1.0, 1, 0, 1.0, "cpu", {})


def build(folder: Path, n_texts: int, n_layers: int, hidden: int) -> dict[str, Cases]:
    """Write the same states to a store and to a .npy; the cases by what they read."""
    store = create_store(folder / "store.zarr")
    rows = store.add_texts([f"text {i}" for i in range(n_texts)])
    layers = tuple(range(n_layers))
    spec = CheckpointSpec(
        MODEL, "main", n_layers - 1, layers, hidden, "float16", 64, "t", "w", has_final_norm=True
    )
    group = store.begin_checkpoint(spec)
    group.begin_poolings(["mean"])
    npy = np.lib.format.open_memmap(
        folder / "states.npy", "w+", np.float16, (n_layers, n_texts, hidden)
    )
    for shard in group.todo(rows, ["mean"]):
        noise = np.random.default_rng(shard.index).standard_normal(
            (n_layers, len(shard.rows), hidden), np.float32
        )
        states = noise.astype(np.float16)
        npy[:, shard.rows] = states
        builder = group.new_builder()
        builder.put(shard.positions, states)
        ones = np.ones(len(shard.rows), np.int32)
        group.commit(shard, {"mean": builder}, ones, ones > 1, STATS)
    npy.flush()
    memmap = np.load(folder / "states.npy", mmap_mode="r")
    array = zarr.open_array(store.path / group.prefix / "mean_pool", mode="r")
    layer = n_layers // 2
    near = np.arange(n_texts // 4, n_texts // 4 + n_texts // 20)
    far = np.sort(np.random.default_rng(0).choice(n_texts, n_texts // 20, replace=False))

    def cases(wanted: np.ndarray) -> Cases:
        return {
            "memory map": lambda: memmap[layer, wanted].astype(np.float32),
            "actstore": lambda: group.read("mean", layer, wanted),
            "zarr-python": lambda: array.oindex[layer, wanted].astype(np.float32),
        }

    return {
        "One layer, all texts": cases(rows),
        "One layer, 5 % of the texts, neighbours": cases(near),
        "One layer, 5 % of the texts, scattered": cases(far),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=16384)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suites = build(Path(folder), options.texts, options.layers, options.hidden)
        for title, cases in suites.items():
            print(as_table(title, "memory map", best_seconds(cases, options.repeats)))


if __name__ == "__main__":
    main()
