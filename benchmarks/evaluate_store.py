"""Stores for the benchmarks of evaluation: sized tasks and the states of their texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from mteb.abstasks import AbsTask

from actstore.evaluate import Suite
from actstore.evaluate.collection.bundle import freeze
from actstore.evaluate.collection.record import EncodeCall, record_calls
from actstore.evaluate.scoring.conditions import versions
from actstore.store import CheckpointSpec, Json, ShardStats, Store, create_store
from benchmarks.evaluate_rows import MODEL, Rows
from benchmarks.evaluate_tasks import SELECTIONS

POOLING = "mean"
CHECKPOINT = "main"
_STATS = ShardStats(1.0, 1, 0, 1.0, "cpu", {})


def build_store(
    folder: Path, tasks: Sequence[AbsTask], layers: Sequence[Rows], dtype: str
) -> Store:
    """A store with some tasks and with states of all their texts: of each layer, its rows."""
    store = create_store(folder)
    for task in tasks:
        put_task(store, task)
    names = [task.metadata.name for task in tasks]
    store.write_suite("benchmark", suite_of(*names).to_json())
    add_states(store, layers, dtype)
    return store


def put_task(store: Store, task: AbsTask) -> None:
    """Freeze a task into a store and add its texts, as collecting does with one from the hub."""
    name = task.metadata.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, calls = freeze(task), record_calls(task)
    manifest: dict[str, Json] = {
        "name": name,
        "type": task.metadata.type,
        "main_score": task.metadata.main_score,
        "dataset": {key: str(value) for key, value in task.metadata.dataset.items()},
        "selection": SELECTIONS[name].to_json(),
        "versions": versions(),
        "shape": data.shape,
        "digest": data.digest(),
    }
    store.write_task(name, manifest, _calls_table(store, calls), data.tables)


def add_states(store: Store, layers: Sequence[Rows], dtype: str) -> None:
    hidden = layers[0].hidden
    spec = CheckpointSpec(
        model=MODEL,
        checkpoint=CHECKPOINT,
        n_blocks=len(layers) - 1,
        layers=tuple(range(len(layers))),
        hidden_size=hidden,
        dtype=dtype,
        max_tokens=64,
        tokenizer_digest="t",
        weights_digest="w",
        has_final_norm=True,
    )
    group = store.begin_checkpoint(spec)
    group.begin_poolings([POOLING])
    for shard in group.todo(store.text_rows(), [POOLING]):
        texts = store.read_texts(shard.rows)
        builder = group.new_builder()
        builder.put(shard.positions, np.stack([rows(texts) for rows in layers]).astype(dtype))
        ones = np.ones(len(texts), np.int32)
        group.commit(shard, {POOLING: builder}, ones, ones > 1, _STATS)


def suite_of(*names: str) -> Suite:
    return Suite("benchmark", "Of benchmarks", tuple(SELECTIONS[name] for name in names))


def _calls_table(store: Store, calls: Sequence[EncodeCall]) -> pa.Table:
    texts = [*dict.fromkeys(text for call in calls for text in call.texts)]
    rows = dict(zip(texts, store.add_texts(texts).tolist(), strict=True))
    used = [np.array([rows[text] for text in call.texts], np.int64) for call in calls]
    return pa.table(
        {
            "split": [call.split for call in calls],
            "subset": [call.subset for call in calls],
            "prompt_type": [call.prompt_type for call in calls],
            "rows": pa.array(used, pa.list_(pa.int64())),
        }
    )
