"""The store's reads and writes, against bare ones of the same bytes and against other storages.

    OMP_NUM_THREADS=1 python -m benchmarks.store [--only write,layer,…] [--rounds 7] [--threads 1]

Floors check nothing. The store checks every crc32c and tag that it reads; whether a peer checks is
tried with a damaged array. States are float16, and so is what is read, unless a line says float32.
Each line's cases run in turn, every other round backwards, on a warm page cache unless it says
cold; a ratio is taken in each round, and the median is printed, of wall time and of CPU time. Peers
are installed once, in an environment of their own, and run in turn with the same floors; they use
as many threads as they do by default.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from actstore.store import CheckpointGroup, CheckpointSpec, ShardBuilder, ShardStats, create_store
from actstore.store.arrays.sharded import ShardedArray
from actstore.store.shards import ShardIdentity
from actstore.store.storage import LocalStorage, each
from benchmarks.clock import Cases, paired_costs, ratios
from benchmarks.peers.environment import PeerFailedError, python_of, run_program
from benchmarks.peers.storage import IN_ORDER, LAYER, PEERS, SCATTERED, WRITE
from benchmarks.store_data import Rows, Sizes, StoreData
from benchmarks.timing import Row, target_table

MODEL, POOLING, FLOOR, STORE = "benchmark/model", "mean", "floor", "store"
TEXTS_OF_ALL_TASKS = 1_420_000
_STATS = ShardStats(1.0, 1, 0, 1.0, "cpu", {})
_READ_AT_ONCE = 8 << 20
_WIDER = 8
_LAYERS_OF_WIDE = 2
_CACHE = Path.home() / ".cache" / "actstore-benchmarks"


@dataclass(frozen=True)
class Bench:
    """States that are stored twice, and how they are measured."""

    data: StoreData
    group: CheckpointGroup
    rounds: int
    threads: int

    @property
    def array(self) -> ShardedArray:
        array = self.group.sharded_array(f"{POOLING}_pool")
        assert isinstance(array, ShardedArray)
        return array

    def read(self, rows: Rows, dtype: str) -> np.ndarray:
        return self.group.read(POOLING, self.data.layer, rows, dtype, self.threads)


def build(folder: Path, sizes: Sizes, rounds: int = 1, threads: int = 1) -> Bench:
    """Write the same states to a store and to a .npy; they are no longer only in memory."""
    store = create_store(folder / "store.zarr")
    rows = store.add_texts([f"text {i}" for i in range(sizes.texts)])
    group = store.begin_checkpoint(_spec(sizes, "main"))
    group.begin_poolings([POOLING])
    layout = group.layout
    sizes = replace(sizes, shard=layout.rows_per_shard, chunk=layout.rows_per_chunk)
    data = StoreData(folder, store.path / group.prefix / f"{POOLING}_pool", sizes)
    shape = (sizes.layers, sizes.texts, sizes.hidden)
    npy = np.lib.format.open_memmap(data.npy, "w+", np.float16, shape)
    for shard in group.todo(rows, [POOLING]):
        rng = np.random.default_rng(shard.index)
        noise = rng.standard_normal((sizes.layers, len(shard.rows), sizes.hidden), np.float32)
        npy[:, shard.rows] = states = noise.astype(np.float16)
        builder = group.new_builder()
        builder.put(shard.positions, states)
        ones = np.ones(len(shard.rows), np.int32)
        group.commit(shard, {POOLING: builder}, ones, ones > 1, _STATS)
    npy.flush()
    return Bench(data, group, rounds, threads)


def _spec(sizes: Sizes, checkpoint: str) -> CheckpointSpec:
    layers = tuple(range(sizes.layers))
    made = (sizes.layers - 1, layers, sizes.hidden, "float16", 64, "t", "w")
    return CheckpointSpec(MODEL, checkpoint, *made, has_final_norm=True)


def write_rows(bench: Bench) -> Iterator[Row]:
    what = f"write of a shard ({_megabytes(bench.group.layout.shard_bytes)}), checksums, fsync"
    yield _row(bench, what, "≤ 1.25 x", writing_cases(bench, from_states=False))
    what += ", and before it scattering the states into the shard"
    yield _row(bench, what, "", writing_cases(bench, from_states=True))
    bench.data.remove_written()


def writing_cases(bench: Bench, *, from_states: bool) -> Cases:
    """from_states: whether the store's side starts from an array of states or a filled builder."""
    batches = _batches(bench.data.shard_states())
    filled, identity = _filled(bench, batches), ShardIdentity("plan", "array", 0, "content")

    def write() -> None:
        builder = _filled(bench, batches) if from_states else filled
        sealed = builder.seal(np.arange(bench.data.sizes.shard), identity)
        path = bench.data.new_path()
        LocalStorage(path.parent).create(path.name, sealed.image)

    image = np.ascontiguousarray(filled.seal(np.arange(bench.data.sizes.shard), identity).image)
    return {FLOOR: lambda: bench.data.write_bytes(image.data), STORE: write}


def _batches(states: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions and states of texts of about one length each: rows of the shard in any order."""
    order = np.random.default_rng(0).permutation(states.shape[1])
    parts = np.array_split(order, max(1, len(order) // 64))
    return [(positions, states[:, positions]) for positions in parts]


def _filled(bench: Bench, batches: list[tuple[np.ndarray, np.ndarray]]) -> ShardBuilder:
    builder = bench.group.new_builder()
    for positions, states in batches:
        builder.put(positions, states)
    return builder


def layer_rows(bench: Bench) -> Iterator[Row]:
    n_bytes = bench.data.sizes.texts * bench.data.sizes.hidden * 2
    what = f"one layer, all {bench.data.sizes.texts:,} rows ({_megabytes(n_bytes)}), to preadv"
    yield _row(bench, what, "≤ 2.5 x", layer_cases(bench, "float16"))
    yield _row(bench, f"{what}, as float32", "", layer_cases(bench, "float32"))


def layer_cases(bench: Bench, dtype: str) -> Cases:
    rows = np.arange(bench.data.sizes.texts)
    return {FLOOR: bench.data.read_layer, STORE: lambda: bench.read(rows, dtype)}


def task_rows(bench: Bench) -> Iterator[Row]:
    what = f"{bench.data.sizes.task:,} rows of a task in order, to a memory map"
    yield from _rows_of(bench, what, "≤ 3 x", bench.data.in_order())


def scattered_rows(bench: Bench) -> Iterator[Row]:
    """From an array of few layers and many texts, so that strays lie far from each other."""
    folder = bench.data.folder / "wide"
    folder.mkdir()
    texts = bench.data.sizes.texts * _WIDER
    sizes = replace(bench.data.sizes, layers=_LAYERS_OF_WIDE, texts=texts)
    wide = build(folder, sizes, bench.rounds, bench.threads)
    what = f"{sizes.task:,} of {texts:,} rows, 4 runs + 2 % strays, to a memory map"
    yield from _rows_of(wide, what, "≤ 10 x", wide.data.scattered())
    shutil.rmtree(folder)


def _rows_of(bench: Bench, what: str, target: str, rows: Rows) -> Iterator[Row]:
    yield _row(bench, what, target, rows_cases(bench, rows, "float16"))
    yield _row(bench, f"{what}, as float32", target, rows_cases(bench, rows, "float32"))


def rows_cases(bench: Bench, rows: Rows, dtype: str) -> Cases:
    states = bench.data.states()
    return {
        FLOOR: lambda: states[bench.data.layer, rows].astype(dtype, copy=False),
        STORE: lambda: bench.read(rows, dtype),
    }


def verify_rows(bench: Bench) -> Iterator[Row]:
    for state in ("cold", "warm"):
        cases = verifying_cases(bench, cold=state == "cold")
        yield _row(bench, f"checking every byte, to reading it, {state}", "≤ 1.3 x", cases)


def verifying_cases(bench: Bench, *, cold: bool) -> Cases:
    """cold: forget the files' pages before each case; that is part of both sides."""
    paths = sorted(bench.data.array.glob("c.*"))
    commits = list(bench.group.ledger.committed(f"{POOLING}_pool").values())

    def run(work: Callable[..., object], items: list[object]) -> None:
        if cold:
            for path in paths:
                forget(path)
        each(bench.group.storage, work, items, bench.threads)

    return {
        FLOOR: lambda: run(_read_file, [*paths]),
        STORE: lambda: run(bench.array.check, [*commits]),
    }


def forget(path: Path) -> None:
    """Drop a flushed file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _read_file(path: Path) -> None:
    buffer = np.empty(_READ_AT_ONCE, np.uint8)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer.data):
            pass


def files_rows(bench: Bench) -> Iterator[Row]:
    n = TEXTS_OF_ALL_TASKS
    found = count_files(bench.data.folder / "files", replace(bench.data.sizes, texts=n))
    yield Row(f"files of a checkpoint of {n:,} texts, one pooling", "≤ 400", f"{found:,}")


def count_files(folder: Path, sizes: Sizes) -> int:
    """Of one checkpoint with all shards: those that are there, and the shards that are planned."""
    store = create_store(folder)
    rows = store.add_texts([f"text {i}" for i in range(sizes.texts)])
    group = store.begin_checkpoint(_spec(sizes, "main"))
    group.begin_poolings([POOLING])
    todo = group.todo(rows, [POOLING])
    journal = 1  # of one worker; every further one has another
    return len(store.storage.objects(group.prefix)) + len(todo) + journal


def peers_rows(bench: Bench, environments: Path) -> Iterator[Row]:
    """A line for each peer: its ratios to the same floors."""
    for name in PEERS:
        yield peer_row(bench, name, environments)


def peer_row(bench: Bench, name: str, environments: Path) -> Row:
    data, what = bench.data, f"{name}, to the same floors"
    sizes = json.dumps(asdict(data.sizes))
    arguments = [name, str(data.folder), str(data.array), str(bench.rounds), sizes]
    try:
        found = json.loads(run_program("storage", python_of("storage", environments), arguments))
    except PeerFailedError as error:
        return Row(what, "", f"not run: {error}".replace("\n", " "))
    said = [
        f"{case} {found[case]['wall']:.1f} x ({found[case]['cpu']:.1f} x CPU)"
        for case in (WRITE, LAYER, IN_ORDER, SCATTERED)
    ]
    unchecked = [case for case, checks in found["checks"].items() if not checks]
    if unchecked:
        said.append(f"checks nothing when it reads {', '.join(unchecked)}")
    return Row(what, "", ", ".join(said))


def _row(bench: Bench, what: str, target: str, cases: Cases) -> Row:
    for run in cases.values():
        run()  # what is done once, and the page cache
    costs = paired_costs(cases, bench.rounds)
    ratio = ratios(costs[STORE], costs[FLOOR])
    best = min(one.wall for one in costs[FLOOR])
    measured = f"{ratio.wall:.2f} x ({ratio.cpu:.2f} x CPU) of {best * 1000:.1f} ms"
    return Row(what, target, measured)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"


BENCHMARKS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "write": write_rows,
    "layer": layer_rows,
    "task": task_rows,
    "scattered": scattered_rows,
    "verify": verify_rows,
    "files": files_rows,
}
_PEERS = "peers"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda words: words.split(","), metavar="NAME,…")
    parser.add_argument("--folder", type=Path, help="where the states are written")
    parser.add_argument("--environments", type=Path, default=_CACHE, help="of the peers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of the store")
    for name in ("layers", "texts", "hidden", "task"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes(), name))
    options = parser.parse_args()
    sizes = Sizes(options.layers, options.texts, options.hidden, options.task)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = build(Path(folder), sizes, options.rounds, options.threads)
        for name in options.only or [*BENCHMARKS, _PEERS]:
            found = (
                peers_rows(bench, options.environments)
                if name == _PEERS
                else BENCHMARKS[name](bench)
            )
            for row in found:
                print(f"{name}: {row.what}: {row.measured}", flush=True)
                rows.append(row)
    print(f"\n{target_table(rows)}")


if __name__ == "__main__":
    main()
