"""Opening many checkpoints as one dataset, against concatenating what zarr opens.

    python -m benchmarks.opening [--checkpoints 154 --texts 3000000 --repeats 3]

The floor reads and parses each checkpoint's zarr.json. No case reads states: the store has the
commit records of all shards and the lengths of all texts, without any shard.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from actstore.store import CheckpointGroup, CheckpointSpec, Store, create_store, open_store
from actstore.store.arrays.sharded import Shard
from actstore.store.records.journal import Json, append_records
from actstore.store.status.describe import describe_store
from actstore.store.texts.lengths import RECORDED
from benchmarks.timing import Cases, as_table, best_seconds

MODEL = "benchmark/model"
_CONCATENATED = 100_000
"""Texts up to which xarray.concat takes part: its Dask graph of 3 million does not fit 24 GB."""


def build(folder: Path, n_checkpoints: int, n_texts: int) -> Store:
    """A store that says that all shards are done: its metadata, no states."""
    store = create_store(folder / "store.zarr")
    store.add_texts([f"text {i}" for i in range(n_texts)])
    layers = tuple(range(25))
    lengths: dict[int, str] = {}
    for i in range(n_checkpoints):
        spec = CheckpointSpec(
            MODEL, f"step{i}", 24, layers, 1024, "float16", 64, "t", "w", has_final_norm=True
        )
        group = store.begin_checkpoint(spec)
        group.begin_poolings(["mean"])
        shards = group.todo(store.text_rows(), ["mean"])
        lengths = lengths or {shard.index: _write_lengths(group, shard) for shard in shards}
        append_records(
            store.storage, group.ledger.folder, [_record(group, one, lengths) for one in shards]
        )
    return store


def _write_lengths(group: CheckpointGroup, shard: Shard) -> str:
    n_tokens = (shard.rows % 64 + 1).astype(np.int32)
    return group.lengths.write(shard.index, shard.positions, n_tokens, n_tokens == 64)


def _record(group: CheckpointGroup, shard: Shard, lengths: Mapping[int, str]) -> dict[str, Json]:
    """A commit record, as long as those that `CheckpointGroup.commit` writes."""
    return {
        "array": "mean_pool",
        "shard": shard.index,
        "plan": group.spec.digest(),
        "rows": [shard.start, shard.stop],
        "content": "00112233445566778899aabbccddeeff",
        "bytes": 209_846_276,
        "digest": "ffeeddccbbaa99887766554433221100",
        "seconds": 9.871,
        "n_tokens": 283_111,
        "n_truncated": 17,
        "max_abs": 813.5,
        "device": "cuda:0 NVIDIA H200",
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "actstore": "0.1.0"},
        RECORDED: lengths[shard.index],
    }


def _with_coordinates(store: Store) -> xr.Dataset:
    dataset = open_store(store.url).dataset(MODEL)
    for name in ("row", "n_tokens", "truncated", "step", "layer"):
        dataset[name].load()
    return dataset


def make_cases(store: Store) -> Cases:
    groups = [store.checkpoint(MODEL, name).prefix for name in store.checkpoints(MODEL)]
    folders = [store.path / prefix for prefix in groups]

    def concatenated() -> xr.Dataset:
        opened = [xr.open_zarr(folder, chunks={}) for folder in folders]
        return xr.concat(opened, dim="checkpoint")

    cases: Cases = {
        "reading zarr.json": lambda: [json.loads((f / "zarr.json").read_text()) for f in folders],
        "store.dataset": lambda: _with_coordinates(store),
        "actstore info": lambda: describe_store(open_store(store.url)),
    }
    few = len(store.text_rows()) <= _CONCATENATED
    return {**cases, "xarray.concat": concatenated} if few else cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=154)
    parser.add_argument("--texts", type=int, default=3_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = build(Path(folder), options.checkpoints, options.texts)
        seconds = best_seconds(make_cases(store), options.repeats)
    title = f"{options.checkpoints} checkpoints of {options.texts:,} texts"
    print(as_table(title, "reading zarr.json", seconds))


if __name__ == "__main__":
    main()
