"""What processes write into one store while things break, and what may be read of it meanwhile.

Every writer writes the same, in an order of its own: all that is in a store is known, whoever
wrote it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actstore.errors import (
    MissingShardsError,
    NotAStoreError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.store import CheckpointGroup, LensHead, Store, create_store, open_store
from actstore.store.arrays.sharded import Shard, shards_of
from actstore.store.arrays.tokens import TokenisedText
from actstore.store.heads.head_ops import Linear
from actstore.store.heads.lenses import LensWriter, head_digest, states_digest
from actstore.store.records.ledger import Commit
from actstore.store.sharing.leases import Leases
from actstore.store.sharing.sweeping import leftovers
from tests.support.states import MODEL, STATS, known_states, spec

FORK = get_context("fork")
TEXTS = [f"text {i}" for i in range(150)]
"""Three shards."""
LATER = [f"later text {i}" for i in range(10)]
VIEWS = [[f"text {i}, again"] for i in range(5)]
STEPS = ("step1", "step2")
VALUE, SAMPLE, LENS, TASK = "prompt_entropy", "few", "tuned", "task"
HEAD = {"weight": np.arange(160, dtype=np.float32).reshape(20, 8)}
ALLOWED = MissingShardsError, UnknownNameError, UnknownTextError, NotAStoreError
"""What a reader may be told while writers are at work."""


def write(path: Path, seed: int = 0) -> None:
    """Write everything that is not there yet, in an order that the seed chooses."""
    order, store = Random(seed), create_store(path)
    rows = store.add_texts(TEXTS)
    with Leases(store.storage, seconds=60) as leases:
        store.write_task(TASK, {"mteb_version": "2"}, _calls(rows), {"test": _scores()})
        groups = [store.begin_checkpoint(spec(checkpoint=step)) for step in STEPS]
        order.shuffle(groups)
        for group in groups:
            fill(group, ("mean",), (), order, leases)
            _write_parts(group, leases)
        store.add_texts(LATER)
        store.add_views("v", rows[: len(VIEWS)], VIEWS)
        for group in groups:
            store.begin_checkpoint(group.spec)  # which makes room for their lengths too
            fill(group, ("mean", "last"), (VALUE,), order, leases)


def fill(
    group: CheckpointGroup,
    poolings: tuple[str, ...],
    values: tuple[str, ...],
    order: Random,
    leases: Leases,
) -> None:
    """Commit every shard that no other writer holds; in the end, all."""
    group.begin_poolings(poolings)
    group.begin_text_values(values)
    while shards := _todo(group, poolings, values):
        order.shuffle(shards)
        for shard in shards:
            if lease := leases.claim(f"{group.prefix}/pooled/{shard.index}"):
                commit(group, shard, poolings, values)
                lease.release()
        time.sleep(0.002)  # others hold what is left


def commit(
    group: CheckpointGroup, shard: Shard, poolings: tuple[str, ...], values: tuple[str, ...]
) -> None:
    """Commit what is known of one shard."""
    builders = {}
    for pooling in poolings:
        builders[pooling] = group.new_builder()
        builders[pooling].put(shard.positions, states(group, shard.rows, pooling))
    n_tokens = lengths(shard.rows)
    computed = {name: numbers(group, shard.rows) for name in values}
    group.commit(shard, builders, n_tokens, n_tokens > 5, STATS, computed)


def states(group: CheckpointGroup, rows: NDArray[np.int64], pooling: str) -> NDArray[np.float16]:
    """(layer, n, hidden): of every checkpoint, pooling, layer, row and unit others."""
    offset = STEPS.index(group.checkpoint) * 0.25 + ("mean", "last").index(pooling) * 0.5
    return (known_states(rows, group.spec) + offset).astype(np.float16)


def lengths(rows: NDArray[np.int64]) -> NDArray[np.int32]:
    return (rows % 7 + 1).astype(np.int32)


def numbers(group: CheckpointGroup, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(layer, n): of every layer and row others."""
    layers = np.array(group.layers, np.float32)[:, None]
    found = layers * 10_000 + rows[None] + STEPS.index(group.checkpoint) * 0.5
    return found.astype(np.float32)


def _todo(
    group: CheckpointGroup, poolings: tuple[str, ...], values: tuple[str, ...]
) -> list[Shard]:
    rows, size = group.texts.rows(), group.layout.rows_per_shard
    done = [group.committed(name) for name in poolings]
    done += [group.committed_values(name) for name in values]
    return [one for one in shards_of(rows, rows, size) if not all(one.index in d for d in done)]


def _write_parts(group: CheckpointGroup, leases: Leases) -> None:
    """A token sample, a lens head and a fitted lens."""
    with leases.alone(f"{group.prefix}/begin"):
        sample = group.begin_token_sample(SAMPLE, _tokens())
        if not group.has_head():
            group.write_head(LensHead((Linear("weight", None),), HEAD, 0.0))
    for shard in sample.todo():
        builder = sample.new_builder()
        builder.put(shard.positions, states(group, shard.rows, "mean"))
        sample.commit(shard, builder, STATS)
    with leases.alone(f"{group.prefix}/lens"):
        if LENS not in group.lenses():
            writer = LensWriter(group, LENS, group.layers[:-1])
            for layer in writer.layers:
                writer.put(layer, *_lens(layer))
            fitted = {"head": head_digest(group), "states": states_digest(group, SAMPLE)}
            group.finish_lens(writer, {"kind": LENS, "sample": SAMPLE, **fitted})


def _lens(layer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.full((8, 8), layer, np.float32), np.full(8, layer + 0.5, np.float32)


def _tokens() -> list[TokenisedText]:
    return [
        TokenisedText(
            row,
            np.arange(n, dtype=np.int32) + 100 * row,
            np.arange(n) == 0,
            np.full(n, 3, np.int32),
        )
        for row, n in enumerate((40, 30, 20, 64, 1))
    ]


def _calls(rows: NDArray[np.int64]) -> pa.Table:
    columns = {"split": ["test"], "subset": ["default"], "prompt_type": [""]}
    return pa.table({**columns, "rows": pa.array([rows.tolist()], pa.list_(pa.int64()))})


def _scores() -> pa.Table:
    return pa.table({"score": [0.5, 1.5]})


def read(path: Path, *, whole: bool = False) -> None:
    """Read all there is and fail at the first wrong number. whole: nothing may be missing."""
    for check in _checks(path):
        try:
            check()
        except ALLOWED:
            if whole:
                raise


def _checks(path: Path) -> Iterator[Callable[[], None]]:
    try:
        store = open_store(path)
    except NotAStoreError:
        return
    yield lambda: _check_texts(store)
    yield lambda: _check_task(store)
    yield lambda: _check_views(store)
    yield lambda: _check_lengths(store)
    for step in STEPS:
        try:
            group = store.checkpoint(MODEL, step)
        except UnknownNameError:
            continue
        rows = group.texts.rows()
        for some in (rows[:64], rows[64:128], rows[128:]):
            for pooling in ("mean", "last"):
                yield lambda g=group, r=some, p=pooling: check_states(g, r, p)
            yield lambda g=group, r=some: check_values(g, r)
        yield lambda g=group: _check_sample(g)
        yield lambda g=group: _check_head(g)
        yield lambda g=group: _check_lens(g)


def _check_texts(store: Store) -> None:
    found = store.read_texts(store.text_rows())
    expected = TEXTS + LATER + [view for views in VIEWS for view in views]
    assert found == expected[: len(found)]
    if len(found) < len(expected):
        raise UnknownTextError


def _check_task(store: Store) -> None:
    task = store.task(TASK)
    assert task.table("test").equals(_scores())
    assert task.rows().tolist() == list(range(len(TEXTS)))


def _check_views(store: Store) -> None:
    views = store.view_set("v")
    texts = [store.read_texts(rows) for rows in views.rows]
    assert texts == VIEWS
    assert len(views.new_rows) == len(VIEWS)


def _check_lengths(store: Store) -> None:
    found, rows = store.text_lengths(MODEL)["n_tokens"], store.text_rows()[:]
    expected = lengths(rows[: len(found)])
    assert ((found == 0) | (found == expected)).all()
    if not found.all():
        raise MissingShardsError


def check_states(group: CheckpointGroup, rows: NDArray[np.int64], pooling: str) -> None:
    expected = states(group, rows, pooling)
    for index, layer in enumerate(group.layers):
        np.testing.assert_array_equal(group.read(pooling, layer, rows, "float16"), expected[index])


def check_values(group: CheckpointGroup, rows: NDArray[np.int64]) -> None:
    found = group.read_value_layers(VALUE, group.layers, rows)
    np.testing.assert_array_equal(found, numbers(group, rows))


def _check_sample(group: CheckpointGroup) -> None:
    sample = group.token_sample(SAMPLE)
    tokens = np.arange(len(sample.row))
    used = sample.row >= 0
    for index, layer in enumerate(group.layers):
        found = sample.states(layer, 0, len(tokens))[used]
        np.testing.assert_array_equal(found, states(group, tokens, "mean")[index][used])
    np.testing.assert_array_equal(
        sample.token_id[used], np.concatenate([text.token_id for text in _tokens()])
    )


def _check_head(group: CheckpointGroup) -> None:
    np.testing.assert_array_equal(group.head().arrays["weight"], HEAD["weight"])


def _check_lens(group: CheckpointGroup) -> None:
    lens = group.lens(LENS)
    for index, layer in enumerate(lens.layers):
        weight, bias = _lens(layer)
        np.testing.assert_array_equal(lens.weight[index], weight)
        np.testing.assert_array_equal(lens.bias[index], bias)


def contents(path: Path) -> dict[str, bytes]:
    """Every file that depends on what is in the store alone, and not on who wrote it when."""
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix != ".jsonl"]
    keys = {file.relative_to(path).as_posix(): file for file in files}
    apart = ("leases/", "runs/", "zarr.json")
    return {key: file.read_bytes() for key, file in keys.items() if not key.startswith(apart)}


def check_commits(path: Path) -> None:
    """Every shard that counts as committed is, to its last byte, what was committed."""
    with suppress(NotAStoreError):
        store = open_store(path)
        for model in store.models():
            for step in store.checkpoints(model):
                group = store.checkpoint(model, step)
                for record in group.ledger.records():
                    array = group.sharded_array(record["array"])
                    if record["shard"] in array.committed():
                        array.check(Commit.of(record))


@contextmanager
def reading(path: Path, report: Path, look: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Read all the while, in a process of its own; fail if it met anything wrong."""
    ended = FORK.Event()
    process = FORK.Process(target=_keep_reading, args=(path, report, look or read, ended))
    process.start()
    try:
        yield
    finally:
        ended.set()
        process.join()
    assert process.exitcode == 0, report.read_text()


def _keep_reading(path: Path, report: Path, look: Callable[[Path], None], ended: object) -> None:
    try:
        while not ended.is_set():  # type: ignore[attr-defined]
            look(path)
    except BaseException:
        report.write_text(traceback.format_exc())
        raise


def require_finished(path: Path, undisturbed: dict[str, bytes]) -> None:
    """Fail unless a store is what one that nothing disturbed is, with nothing left behind."""
    read(path, whole=True)
    check_commits(path)
    found = contents(path)
    assert found.keys() ^ undisturbed.keys() == set()
    assert [key for key in found if found[key] != undisturbed[key]] == []
    assert leftovers(open_store(path).storage) == []
