"""Evaluating layers from a store, against mteb with the same vectors in memory.

    python -m benchmarks.evaluation [--layers 4 --hidden 256 --repeats 3]

Both run the demo's tasks at every layer in one process. The floor loads each task once and answers
mteb from a dictionary in memory. actstore starts from the store on disk: it rebuilds the tasks from
their bundles, reads and checks the states, writes mteb's result files and the score table. What
harnesses do, running the model for every layer, is not part of either.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mteb
import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from actstore.evaluate import EvaluationRequest, collect, evaluate
from actstore.evaluate.suites.catalogue import new_task
from actstore.store import CheckpointSpec, ShardStats, Store, create_store
from benchmarks.timing import as_table, best_seconds

MODEL = "benchmark/model"


class VectorsInMemory(AbsEncoder):
    """Answers mteb from a dictionary."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": MODEL, "revision": "main", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        return np.stack([self.vectors[text] for text in inputs.dataset["text"][:]])


def build(folder: Path, n_layers: int, hidden: int) -> tuple[Store, list[np.ndarray]]:
    """A store with the demo's tasks and random states of them; also the states, by layer."""
    store = create_store(folder / "store.zarr")
    collect(store, "demo")
    rows = store.text_rows()
    layers = tuple(range(n_layers))
    spec = CheckpointSpec(
        MODEL, "main", n_layers - 1, layers, hidden, "float32", 64, "t", "w", has_final_norm=True
    )
    group = store.begin_checkpoint(spec)
    group.begin_poolings(["mean"])
    states = np.random.default_rng(0).standard_normal((n_layers, len(rows), hidden), np.float32)
    stats = ShardStats(1.0, 1, 0, 1.0, "cpu", {})
    for shard in group.todo(rows, ["mean"]):
        builder = group.new_builder()
        builder.put(shard.positions, states[:, np.searchsorted(rows, shard.rows)])
        ones = np.ones(len(shard.rows), np.int32)
        group.commit(shard, {"mean": builder}, ones, ones > 1, stats)
    return store, list(states)


def from_memory(store: Store, states: list[np.ndarray]) -> list[float]:
    """Main scores by layer and task, mteb answered from memory."""
    texts = store.texts()["text"].tolist()
    tasks = [new_task(name) for name in store.tasks()]
    for task in tasks:
        task.load_data()
    scores = []
    for layer in states:
        encoder = VectorsInMemory(dict(zip(texts, layer, strict=True)))
        quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
        results = mteb.evaluate(encoder, tasks, **quiet).task_results
        scores += [result.get_score() for result in results]
    return scores


def from_store(store: Store) -> list[float]:
    """Main scores by layer and task, from the store alone."""
    for results in ("journal", "mteb"):
        shutil.rmtree(store.path / "scores" / results, ignore_errors=True)
    evaluate(store, EvaluationRequest(MODEL, "demo", poolings=("mean",)))
    table = store.scores()
    order = {name: place for place, name in enumerate(store.tasks())}
    table["place"] = table["task"].map(order)
    by_unit = table.groupby(["layer", "place"])["main_score"].mean()
    return [float(score) for score in by_unit]


def make_cases(folder: Path, n_layers: int, hidden: int) -> dict[str, Callable[[], list[float]]]:
    store, states = build(folder, n_layers, hidden)
    return {
        "mteb, vectors in memory": lambda: from_memory(store, states),
        "actstore eval": lambda: from_store(store),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder), options.layers, options.hidden)
        seconds = best_seconds(cases, options.repeats)
    title = f"The demo's tasks at {options.layers} layers, one process"
    print(as_table(title, "mteb, vectors in memory", seconds))


if __name__ == "__main__":
    main()
