"""An epoch of states for training, against reading the same bytes.

    OMP_NUM_THREADS=1 python -m benchmarks.loading [--texts 16384 --layers 4 --rounds 5]

The floor is one preadv a layer into fresh memory: nothing checked, nothing shuffled. The peer is
what training code does by hand: a memory map of a .npy, of which each batch takes random rows. All
read from a warm page cache, in one process; each line is the median ratio of rounds that run all
cases, every other one backwards.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from actstore.loaders import Batching, PooledDataset, StateSelection
from actstore.store import open_store
from benchmarks.clock import Cases, paired_costs, ratios
from benchmarks.store import Bench, build
from benchmarks.store_data import Sizes
from benchmarks.timing import Row, target_table

FLOOR = "preadv"
BY_HAND = "random rows of a memory map, as float32"
ORDERED = "PooledDataset, in order, as float16"
SHUFFLED = "PooledDataset, shuffled, as float16"
WIDENED = "PooledDataset, shuffled, as float32"
_TARGETS = {SHUFFLED: "≤ 6 x", WIDENED: "≤ by hand"}


def make_cases(bench: Bench, batch_size: int = 4096) -> Cases:
    """Each gives the rows of all batches, so that a test can see that nothing is left out."""
    n_layers = bench.data.sizes.layers

    def raw() -> int:
        return sum(len(bench.data.read_layer()) for _ in range(n_layers)) // (
            2 * bench.data.sizes.hidden
        )

    def by_hand() -> int:
        states = bench.data.states().reshape(-1, bench.data.sizes.hidden)
        order = np.random.default_rng(0).permutation(len(states))
        batches = (order[low : low + batch_size] for low in range(0, len(order), batch_size))
        return sum(len(torch.from_numpy(states[rows].astype(np.float32))) for rows in batches)

    def loaded(seed: int | None, dtype: str) -> int:
        batching = Batching(batch_size, 4 * batch_size, seed, dtype=dtype)
        store = open_store(bench.data.folder / "store.zarr")
        return sum(len(one.row) for one in PooledDataset(store, StateSelection(), batching))

    return {
        FLOOR: raw,
        BY_HAND: by_hand,
        ORDERED: lambda: loaded(None, "float16"),
        SHUFFLED: lambda: loaded(0, "float16"),
        WIDENED: lambda: loaded(0, "float32"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=16384)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = Sizes(layers=options.layers, texts=options.texts)
        costs = paired_costs(make_cases(build(Path(folder), sizes)), options.rounds)
    floor = costs.pop(FLOOR)
    rows = []
    for name, found in costs.items():
        ratio = ratios(found, floor)
        rows.append(Row(name, _TARGETS.get(name, ""), f"{ratio.wall:.2f} x, cpu {ratio.cpu:.2f} x"))
    megabytes = options.layers * options.texts * sizes.hidden * 2 / 1e6
    print(f"An epoch of {megabytes:.0f} MB, to {FLOOR}\n\n{target_table(rows)}")


if __name__ == "__main__":
    main()
