"""`actstore status` of a large store, process start included, against reading its ledgers' bytes.

    python -m benchmarks.status [--checkpoints 154 --shards 60000 --tasks 32 --metrics 30]

The store has commit records and empty objects for its shards, without states. Its texts are short,
so that it fits anywhere: status reads no texts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from actstore.store import CheckpointSpec, MetricRecord, ScoreRecord, Store, create_store
from actstore.store.storage import join
from benchmarks.timing import Cost, cost

MODEL = "benchmark/model"
_POOLINGS = ("mean", "mean_normed")
_LAYERS = tuple(range(25))
_WRITERS = 4
"""Workers that extracted each checkpoint: a journal each."""


@dataclass(frozen=True)
class Size:
    """How large a store is."""

    checkpoints: int = 154
    shards: int = 60_000
    """Of all checkpoints and poolings together, at least so many."""
    tasks: int = 0
    """Scored at every checkpoint and layer."""
    metrics: int = 0
    """Values at every checkpoint and layer."""
    rows_per_shard: int = 4096

    @property
    def shards_each(self) -> int:
        """Shards of one pooling of one checkpoint."""
        return -(-self.shards // (self.checkpoints * len(_POOLINGS)))


def build(folder: Path, size: Size) -> Store:
    """A store in which all shards count as done, that many scores and metric values."""
    store = create_store(folder / "store.zarr")
    store.add_texts([f"text {i}" for i in range(size.shards_each * size.rows_per_shard)])
    for i in range(size.checkpoints):
        name = f"step{i * 1000}"
        spec = CheckpointSpec(
            MODEL, name, 24, _LAYERS, 1024, "float16", 2048, "t", f"w{i}", has_final_norm=True
        )
        group = store.begin_checkpoint(spec)
        group.begin_poolings(_POOLINGS)
        _commit(store, group.prefix, size, last=i == size.checkpoints - 1)
        store.record_scores(
            [_score(name, layer, t) for layer in _LAYERS for t in range(size.tasks)]
        )
        store.record_metrics(
            [_metric(name, layer, m) for layer in _LAYERS for m in range(size.metrics)]
        )
    return store


def _commit(store: Store, prefix: str, size: Size, *, last: bool) -> None:
    """Empty objects and their records, as `Ledger.commit` makes them."""
    # Written here, not by append_records, whose journals would all be of this one process.
    now = time.time() - (0 if last else 86_400)
    lines: list[list[str]] = [[] for _ in range(_WRITERS)]
    for array in (f"{pooling}_pool" for pooling in _POOLINGS):
        for shard in range(size.shards_each):
            store.storage.path(join(prefix, array, f"c.0.{shard}.0")).touch()
            record = {
                "at": now - 10 * (size.shards_each - shard),
                "array": array,
                "shard": shard,
                "plan": "3c9d1f0e6b5a47288190a2b3c4d5e6f7",
                "rows": [shard * size.rows_per_shard, (shard + 1) * size.rows_per_shard],
                "content": "00112233445566778899aabbccddeeff",
                "bytes": 209_846_276,
                "digest": "ffeeddccbbaa99887766554433221100",
                "seconds": 9.871,
                "n_tokens": 283_111,
                "n_truncated": 17,
                "max_abs": 813.5,
                "device": "cuda:0 NVIDIA H200",
                "versions": {"torch": "2.13.0", "transformers": "5.23.0", "actstore": "0.1.0"},
            }
            lines[shard % _WRITERS].append(json.dumps(record))
    for writer, of_one in enumerate(lines):
        path = store.storage.path(join(prefix, "ledger", f"node{writer}-4711-deadbeef.jsonl"))
        path.write_text("".join(f"{line}\n" for line in of_one))


def _score(checkpoint: str, layer: int, task: int) -> ScoreRecord:
    return ScoreRecord(
        model=MODEL,
        checkpoint=checkpoint,
        layer=layer,
        pooling="mean_normed",
        task=f"Task{task}",
        task_type="Classification",
        split="test",
        subset="default",
        main_score=0.5,
        scores={"accuracy": 0.5, "f1": 0.5},
        in_average=True,
        evaluation_seconds=1.0,
        mteb_version="2",
        inputs_digest="00112233445566778899aabbccddeeff",
        environment={"threads": 1},
    )


def _metric(checkpoint: str, layer: int, metric: int) -> MetricRecord:
    return MetricRecord(
        model=MODEL,
        checkpoint=checkpoint,
        layer=layer,
        metric=f"metric_{metric}",
        source="mean_pool",
        value=0.5,
        n=100_000,
        unit="bits",
        definition="a sentence that says what it is of these data, as long as most of them are",
        inputs="00112233445566778899aabbccddeeff",
        parameters={"seed": 0, "rows": "00112233445566778899aabbccddeeff"},
    )


def make_cases(store: Store) -> dict[str, Callable[[], object]]:
    """Reading all ledgers' bytes and listing all shards in a new process; and the command."""
    reading = (
        "import os, sys\n"
        "n = 0\n"
        "for folder, _, names in os.walk(sys.argv[1]):\n"
        "    for name in names:\n"
        "        if name.endswith('.jsonl'): n += len(open(f'{folder}/{name}', 'rb').read())\n"
    )
    program = [sys.executable, "-m", "actstore", "status", store.url, "--json"]
    return {
        "reading": lambda: _run([sys.executable, "-c", reading, store.url]),
        "status": lambda: _run(program),
    }


def _run(program: list[str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def measure(store: Store, rounds: int) -> dict[str, Cost]:
    """The median of each case over some rounds."""
    found = {}
    for name, case in make_cases(store).items():
        costs = [cost(case) for _ in range(rounds)]
        found[name] = Cost(median(c.wall for c in costs), median(c.cpu for c in costs))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=154)
    parser.add_argument("--shards", type=int, default=60_000)
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--metrics", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="Build it here and leave it.")
    options = parser.parse_args()
    size = Size(options.checkpoints, options.shards, options.tasks, options.metrics)
    with tempfile.TemporaryDirectory() as folder:
        store = build(options.keep or Path(folder), size)
        found = measure(store, options.rounds)
    done = size.checkpoints * size.shards_each * len(_POOLINGS)
    print(f"{size.checkpoints} checkpoints, {done:,} shards: target 2 s a status")
    for name, one in found.items():
        print(f"{name:10} {one.wall:.2f} s, {one.cpu:.2f} s of CPU")


if __name__ == "__main__":
    main()
