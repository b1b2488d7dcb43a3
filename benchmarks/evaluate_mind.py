"""MindSmallReranking against mteb: CPU time, peak memory and scores of a layer.

    python -m benchmarks.evaluate_mind [--fraction 0.03 --hidden 1024]
    python -m benchmarks.evaluate_mind --full

The task is of the real one's shape, at a fraction of its impressions: as many candidates for each,
as many texts read before, titles read again and again. Both sides run the real task class in a
process of their own, of one thread, on the same store. mteb gets its data as it loads it, in
dictionaries of strings. `--full` runs actstore alone: mteb takes about 27 GB and 11 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable
from mteb.abstasks import AbsTask

from actstore.evaluate.collection.bundle import freeze, thaw
from actstore.evaluate.collection.record import record_calls
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements
from actstore.evaluate.fast.ranking.reranking import quicken_reranking
from actstore.evaluate.scoring.encoder import StoreEncoder
from actstore.store import CheckpointSpec, ShardStats, Store, create_store, open_store
from benchmarks.clock import cpu_seconds
from benchmarks.timing import Row, target_table

MODEL, TASK = "benchmark/model", "MindSmallReranking"
LAYERS = (0, 1)
"""The second has nothing to prepare: it is what each of many layers costs."""
_THREADS = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Shape:
    """How large the task is. The numbers of the real one are from its descriptive statistics."""

    impressions: int = 73_152
    documents: int = 5_277
    texts: int = 37_162
    read_before: float = 32.3
    """Texts of an impression, which are its queries; a mean."""
    candidates: float = 27.5
    """Of an impression, at most 300; a median."""
    more_clicks: float = 0.8
    """Relevant documents of an impression besides one; a mean."""

    def part(self, fraction: float) -> Shape:
        """As many impressions as that, of texts and documents that are read as often."""
        texts = max(1_000, int(self.texts * min(1.0, 4 * fraction)))
        return Shape(max(10, int(self.impressions * fraction)), self.documents, texts)


@dataclass(frozen=True)
class Run:
    """What one process took, imports not counted in seconds but in memory."""

    loading: float
    """CPU seconds until the task is at hand."""
    layers: list[float]
    peak_bytes: int
    scores: list[dict[str, Any]]
    """Of each layer."""


def draw(shape: Shape, seed: int = 0) -> dict[str, Any]:
    """A split of the task."""
    rng = np.random.default_rng(seed)
    queries = rng.geometric(1 / shape.read_before, shape.impressions).clip(1, 500)
    sizes = rng.lognormal(np.log(shape.candidates), 0.9, shape.impressions).astype(int).clip(2, 300)
    offered = [rng.permutation(shape.documents)[:n] for n in sizes]
    clicked = [
        one[: 1 + n]
        for one, n in zip(offered, rng.poisson(shape.more_clicks, len(sizes)), strict=True)
    ]
    ids = [f"{group}_{i}" for group, n in enumerate(queries.tolist()) for i in range(n)]
    which = np.repeat(np.arange(shape.impressions, dtype=np.int32), queries)
    names = pa.array([f"N{number}" for number in rng.permutation(10**5)[: shape.documents]])
    documents = [f"news {i} " + "of the day " * (i % 8) for i in range(shape.documents)]
    texts = [f"title {i} " + "read before " * (i % 9) for i in range(shape.texts)]
    asked = (shape.texts * rng.random(len(ids)) ** 3).astype(np.int32)
    return {
        "corpus": _dataset({"id": names, "text": documents}),
        "queries": _dataset({"id": ids, "text": pa.array(texts).take(pa.array(asked))}),
        "relevant_docs": Judgements(*_lists(ids, which, clicked, names), _ones(clicked)),
        "top_ranked": Candidates(*_lists(ids, which, [*map(rng.permutation, offered)], names)),
    }


def _dataset(columns: dict[str, Any]) -> Dataset:
    return Dataset(InMemoryTable(pa.table(columns)))


def _lists(ids: list[str], which: np.ndarray, lists: list[np.ndarray], names: pa.Array) -> Any:
    offsets = np.append(0, np.cumsum([len(one) for one in lists])).astype(np.int64)
    return pa.array(ids), which, offsets, np.concatenate(lists).astype(np.int32), names


def _ones(lists: list[np.ndarray]) -> np.ndarray:
    return np.ones(sum(map(len, lists)), np.int64)


def build(folder: Path, shape: Shape, hidden: int) -> tuple[str, float]:
    """A store with the task and states of its texts; also the CPU seconds to record its calls."""
    store = create_store(folder / "store.zarr")
    task = _new_task()
    task.dataset, task.data_loaded = {"default": {"test": draw(shape)}}, True
    frozen = freeze(task)
    began = cpu_seconds()
    calls = record_calls(task)
    recording = cpu_seconds() - began
    texts = list(dict.fromkeys(text for call in calls for text in call.texts))
    rows = dict(zip(texts, store.add_texts(texts), strict=True))
    used = [np.array([rows[text] for text in call.texts]) for call in calls]
    kinds = [call.prompt_type for call in calls]
    table = {"split": ["test"] * 2, "subset": ["default"] * 2, "prompt_type": kinds, "rows": used}
    store.write_task(TASK, {"shape": frozen.shape}, pa.table(table), frozen.tables)
    add_states(store, hidden)
    return store.url, recording


def add_states(store: Store, hidden: int) -> None:
    """States with a common mean and a few large values, as language models have them."""
    spec = CheckpointSpec(
        MODEL, "main", len(LAYERS) - 1, LAYERS, hidden, "float32", 64, "t", "w", has_final_norm=True
    )
    group = store.begin_checkpoint(spec)
    group.begin_poolings(["mean"])
    rng = np.random.default_rng(1)
    for shard in group.todo(store.text_rows(), ["mean"]):
        states = rng.standard_normal((len(LAYERS), len(shard.rows), hidden), np.float32) + 1
        states[:, :, :4] *= 30
        builder = group.new_builder()
        builder.put(shard.positions, states)
        ones = np.ones(len(shard.rows), np.int32)
        group.commit(
            shard, {"mean": builder}, ones, ones > 1, ShardStats(1.0, 1, 0, 1.0, "cpu", {})
        )


def actstore_task(store: Store) -> AbsTask:
    return quicken_reranking(_thawed(store, packed=True))


def mteb_task(store: Store) -> AbsTask:
    """As mteb loads it: strings of its own for every candidate."""
    task = _thawed(store, packed=False)
    data = task.dataset["default"]["test"]
    for part in ("relevant_docs", "top_ranked"):
        data[part] = {query: json.loads(json.dumps(value)) for query, value in data[part].items()}
    return task


def _thawed(store: Store, *, packed: bool) -> AbsTask:
    bundle = store.task(TASK)
    shape = bundle.manifest["shape"]
    return thaw(TASK, shape, bundle.table, ["test"], ["default"], packed=packed)


def _new_task() -> AbsTask:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mteb.get_task(TASK)


CASES: dict[str, Callable[[Store], AbsTask]] = {"actstore": actstore_task, "mteb": mteb_task}


def run_case(case: str, url: str) -> Run:
    """Score all layers in this process."""
    store = open_store(url)
    began = cpu_seconds()
    task = CASES[case](store)
    loading, layers, scores = cpu_seconds() - began, [], []
    for layer in LAYERS:
        began = cpu_seconds()
        encoder = StoreEncoder(store, MODEL, checkpoint="main", layer=layer, pooling="mean")
        quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
        results = mteb.evaluate(encoder, task, **quiet).task_results
        layers.append(cpu_seconds() - began)
        scores.append(results[0].scores)
    return Run(loading, layers, peak_bytes(), scores)


def peak_bytes() -> int:
    """Highest resident memory of this process; getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) * 1024


def run_process(case: str, url: str) -> Run:
    command = [sys.executable, "-m", "benchmarks.evaluate_mind", "--case", case, "--store", url]
    found = subprocess.run(
        command, env={**os.environ, **_THREADS}, stdout=subprocess.PIPE, check=True
    )
    return Run(**json.loads(found.stdout.splitlines()[-1]))


def differing(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of leaves that are not equal."""
    if isinstance(one, dict):
        for key in {**one, **other}:
            yield from differing(one.get(key), other.get(key))
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            yield from differing(left, right)
    elif one != other and not (one != one and other != other):
        yield one, other


def rows(ours: Run, theirs: Run) -> Iterator[Row]:
    first, second = (mteb / mine for mteb, mine in zip(theirs.layers, ours.layers, strict=True))
    yield Row(
        "scores that differ, of two layers",
        "0",
        str(sum(1 for _ in differing(ours.scores, theirs.scores))),
    )
    for name, ratio, place in (("the first layer", first, 0), ("each further layer", second, 1)):
        seconds = f"{theirs.layers[place]:.1f} against {ours.layers[place]:.1f} s"
        yield Row(f"CPU time of {name}", "≥ 5 x less", f"{ratio:.1f} x less ({seconds})")
    peaks = f"{theirs.peak_bytes / 2**30:.2f} against {ours.peak_bytes / 2**30:.2f} GiB"
    yield Row("peak memory, imports included", "", peaks)


def full_rows(ours: Run) -> Iterator[Row]:
    yield Row("peak memory, imports included", "≤ 4 GB", f"{ours.peak_bytes / 1e9:.2f} GB")
    yield Row("CPU seconds to load the task", "", f"{ours.loading:.1f}")
    yield Row("CPU seconds of two layers", "≤ 132 each", ", ".join(f"{s:.1f}" for s in ours.layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=0.03)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--full", action="store_true", help="all of it, actstore alone")
    parser.add_argument("--case", choices=[*CASES], help="score in this process and print a record")
    parser.add_argument("--store")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.case:
        print(json.dumps(asdict(run_case(options.case, options.store))))
        return
    shape = Shape() if options.full else Shape().part(options.fraction)
    with tempfile.TemporaryDirectory() as folder:
        url, recording = build(Path(folder), shape, options.hidden)
        ours = run_process("actstore", url)
        found = full_rows(ours) if options.full else rows(ours, run_process("mteb", url))
        print(
            target_table([*found, Row("CPU seconds to record its calls", "", f"{recording:.1f}")])
        )


if __name__ == "__main__":
    main()
