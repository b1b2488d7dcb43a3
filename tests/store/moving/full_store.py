"""A small store with one of everything, and all that its public readers say of a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actstore.store import CheckpointGroup, MetricRecord, Store
from actstore.store.heads.lenses import LensWriter, head_digest, states_digest
from tests.metrics.small_store import HIDDEN, MODEL, N_BLOCKS, STATS, small_store
from tests.report.scored_store import metric, score

CHECKPOINTS = ("step0", "step1000")
TASKS = {"Near": range(40), "Far": range(200, 230)}
"""The rows that each uses: in the first shards, and in the last."""
LENS_LAYERS = tuple(range(N_BLOCKS))


def full_store(folder: Path) -> Store:
    """Two checkpoints of 230 texts and their views: states, values, samples, heads, lenses,
    tasks, suites, scores, metrics, an experiment."""
    store = small_store(folder, views=True).store
    for name in CHECKPOINTS:
        group = store.checkpoint(MODEL, name)
        _add_values(group)
        _add_lens(group)
    _add_tasks(store)
    _add_results(store)
    store.keep_experiment("0" * 32, "an experiment", "name: an experiment\n")
    return store


def _add_values(group: CheckpointGroup) -> None:
    rows, rng = group.texts.rows(), np.random.default_rng(5)
    group.begin_text_values(["curvature"])
    for shard in group.todo(rows, ["mean"]) or _all_shards(group):
        n = len(shard.rows)
        values = rng.normal(size=(len(group.layers), n)).astype(np.float32)
        n_tokens = np.full(n, 3, np.int32)
        group.commit(shard, {}, n_tokens, np.zeros(n, bool), STATS, {"curvature": values})


def _all_shards(group: CheckpointGroup) -> list[Any]:
    from actstore.store.arrays.sharded import shards_of

    rows = group.texts.rows()
    return shards_of(rows, rows, group.layout.rows_per_shard)


def _add_lens(group: CheckpointGroup) -> None:
    rng = np.random.default_rng(3)
    writer = LensWriter(group, "affine", LENS_LAYERS)
    for layer in LENS_LAYERS:
        weight = rng.normal(size=(HIDDEN, HIDDEN)).astype(np.float32)
        writer.put(layer, weight, rng.normal(size=HIDDEN).astype(np.float32))
    fitted = {
        "kind": "affine",
        "sample": "sample",
        "states": states_digest(group, "sample"),
        "head": head_digest(group),
    }
    group.finish_lens(writer, fitted)


def _add_tasks(store: Store) -> None:
    for name, rows in TASKS.items():
        calls = pa.table(
            {
                "split": ["test"],
                "subset": ["default"],
                "prompt_type": [""],
                "rows": pa.array([[*rows, -1]], pa.list_(pa.int64())),
            }
        )
        labels = pa.table({"label": list(range(len(rows)))})
        store.write_task(name, {"digest": name.lower()}, calls, {"test": labels})
    for suite, tasks in (("both", [*TASKS]), ("one/near", ["Near"])):
        store.write_suite(suite, {"tasks": [{"name": task} for task in tasks]})


def _add_results(store: Store) -> None:
    store.record_scores(
        [
            score(name, layer, task, 0.1 * layer + i)
            for name in CHECKPOINTS
            for layer in (0, 1, 2)
            for i, task in enumerate(TASKS)
        ]
    )
    records = [metric(name, 1, "effective_rank", 3.0) for name in CHECKPOINTS]
    records.append(_of_texts(store, "step0"))
    store.record_metrics(records)
    place = "scores/mteb/results/someone__small/step0/experiments/layer_1/Near.json"
    store.storage.create(place, b"{}")


def _of_texts(store: Store, checkpoint: str) -> MetricRecord:
    """A metric with numbers of single texts."""
    key = f"curvature/{checkpoint}"
    rows = np.arange(5, 25)
    store.keep_metric_values(key, rows, {"2/curvature": rows / 100})
    fields = {**asdict(metric(checkpoint, 2, "curvature", 0.15)), "values": key}
    return MetricRecord(**fields)


def readings(store: Store) -> dict[str, Any]:
    """All that the public readers say of a store, by what was asked; texts stand for rows."""
    said: dict[str, Any] = {"texts": sorted(store.texts()["text"])}
    for model in store.models():
        for name in store.checkpoints(model):
            for what, value in _of_checkpoint(store, store.checkpoint(model, name)).items():
                said[f"{model}/{name}/{what}"] = value
    for task in store.tasks():
        bundle = store.task(task)
        said[f"task {task}"] = store.read_texts(bundle.rows())
        said[f"table {task}"] = bundle.table("test").to_pydict()
    said["suites"] = {name: store.suite(name) for name in store.suites()}
    for name in store.views():
        views = store.view_set(name)
        said[f"views {name}"] = [store.read_texts(rows) for rows in views.rows]
        said[f"views of {name}"] = store.read_texts(views.source_rows)
    said["sources"] = sorted(store.read_texts(store.source_rows()))
    said["scores"] = store.scores().to_dict("records")
    said["metrics"] = store.metric_table().drop(columns="values").to_dict("records")
    said["experiments"] = [one.yaml for one in store.experiments()]
    if "curvature" in set(store.metric_table()["metric"]):
        values = store.metric_values(MODEL, "curvature", "mean_pool").sel(layer=2)
        texts = store.read_texts(values["text"].values)
        said["values"] = sorted(zip(texts, values.values[0].tolist(), strict=True))
    return {name: _comparable(value) for name, value in said.items()}


def _of_checkpoint(store: Store, group: CheckpointGroup) -> dict[str, Any]:
    said: dict[str, Any] = {}
    rows = np.sort(_rows_done(store, group))
    texts = store.read_texts(rows)
    order = np.argsort(texts)
    said["texts done"] = [texts[place] for place in order]
    for layer in group.layers:
        for pooling in group.poolings():
            said[f"{pooling} {layer}"] = group.read(pooling, layer, rows)[order].tolist()
        for value in group.text_values():
            said[f"{value} {layer}"] = group.read_values(value, layer, rows)[order].tolist()
        for name in group.token_samples():
            sample = group.token_sample(name)
            for span in sample.spans.itertuples():
                (text,) = store.read_texts([span.row])
                states = sample.states(layer, span.start, span.stop)
                said[f"tokens {name} {layer} {text}"] = states.tolist()
    if group.has_head():
        said["head"] = {name: array.tolist() for name, array in group.head().arrays.items()}
        said["vocabulary"] = store.vocabulary(group.model).to_dict("list")
    for lens in group.lenses():
        said[f"lens {lens}"] = group.lens(lens).weight.tolist()
    lengths = store.text_lengths(group.model)
    known = dict(zip(store.text_rows().tolist(), lengths["n_tokens"].tolist(), strict=True))
    said["n_tokens"] = [known[int(rows[place])] for place in order]
    return said


def _rows_done(store: Store, group: CheckpointGroup) -> Any:
    done = group.committed(group.poolings()[0])
    rows = store.text_rows()
    return rows[np.isin(rows // group.layout.rows_per_shard, sorted(done))]


def _comparable(value: Any) -> str:
    """NaN is NaN, and numbers are compared to their last bit."""
    return repr(value)
