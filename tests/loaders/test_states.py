"""The data sets of torch: what is stored, each row once an epoch, in bounded memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from actstore.errors import (
    InvalidInputError,
    MissingShardsError,
    PlanMismatchError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.loaders import Batching, PooledDataset, StateSelection, TokenDataset
from actstore.loaders import states as states_module
from tests.metrics.small_store import N_TEXTS, SmallStore, small_store
from tests.support.states import known_store, spec

Row = tuple[int, int, int]
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return small_store(tmp_path_factory.mktemp("loaders"))


def rows_of(batches: Any) -> list[Row]:
    """The (checkpoint, layer, row) that batches give."""
    return [
        row
        for batch in batches
        for row in zip(
            batch.checkpoint.tolist(), batch.layer.tolist(), batch.row.tolist(), strict=True
        )
    ]


def loader(dataset: Any, workers: int = 0, **options: Any) -> Any:
    return DataLoader(dataset, batch_size=None, num_workers=workers, **options)


def test_states_are_those_of_their_labels(small: SmallStore) -> None:
    dataset = PooledDataset(small.store, batching=Batching(batch_size=50, window=200))
    given = list(dataset)
    assert len(given) == len(dataset) == -(-2 * 4 * N_TEXTS // 50)
    assert sorted(rows_of(given)) == [
        (c, layer, row) for c in range(2) for layer in range(4) for row in range(N_TEXTS)
    ]
    for batch in given:
        for i, (checkpoint, layer, row) in enumerate(rows_of([batch])):
            expected = small.pooled[dataset.checkpoints[checkpoint]][layer, row]
            np.testing.assert_array_equal(batch.states[i].numpy(), expected)


def test_tokens_are_those_of_their_labels(small: SmallStore) -> None:
    selection = StateSelection(checkpoints=("step1000",), layers="1,3")
    batching = Batching(batch_size=32, window=96)
    dataset = TokenDataset(small.store, selection, batching)
    seen = set()
    for batch in dataset:
        for i, (_, layer, row) in enumerate(rows_of([batch])):
            position = int(batch.position[i])
            assert int(batch.token_id[i]) == position
            expected = small.tokens["step1000"][row][layer, position]
            np.testing.assert_array_equal(batch.states[i].numpy(), expected)
            seen.add((layer, row, position))
    lengths = [text.shape[1] for text in small.tokens["step1000"]]
    assert dataset.n_rows == len(seen) == 2 * sum(lengths)


def test_special_tokens_can_be_left_out(tmp_path: Path) -> None:
    from actstore.store import ShardStats, TokenisedText

    _, group = known_store(tmp_path / "store.zarr", n_texts=3)
    special = np.array([True, False, False, True])
    ids = np.arange(4, dtype=np.int32)
    texts = [TokenisedText(row, ids, special, np.ones(4, np.int32)) for row in range(3)]
    sample = group.begin_token_sample("sample", texts)
    shard = sample.todo()[0]
    builder = sample.new_builder()
    builder.put(shard.positions, np.zeros((4, len(shard.rows), 8), np.float16))
    sample.commit(shard, builder, ShardStats(0.0, 0, 0, 1.0, "cpu", {}))
    dataset = TokenDataset(str(tmp_path / "store.zarr"), special_tokens=False)
    positions = np.concatenate([batch.position.numpy() for batch in dataset])
    assert np.unique(positions).tolist() == [1, 2]
    assert dataset.n_rows == 4 * 3 * 2


@pytest.mark.parametrize("workers", [0, 3])
def test_a_rank_s_workers_give_each_row_once_and_an_epoch_comes_again(
    small: SmallStore, workers: int
) -> None:
    rows, orders = [], []
    for rank in range(2):
        batching = Batching(batch_size=64, window=256, rank=rank, ranks=2)
        dataset = PooledDataset(small.store, batching=batching)
        loaded = loader(dataset, workers)
        first = rows_of(loaded)
        assert first == rows_of(loaded)
        dataset.set_epoch(1)
        orders += [first, rows_of(loaded)]
        rows += first
    assert len(rows) == len(set(rows)) == 2 * 4 * N_TEXTS
    assert orders[0] != orders[1]


def test_persistent_workers_see_the_epoch(small: SmallStore) -> None:
    dataset = PooledDataset(small.store, batching=Batching(batch_size=64))
    kept = loader(dataset, 2, persistent_workers=True)
    first = rows_of(kept)
    dataset.set_epoch(1)
    second = rows_of(kept)
    assert sorted(first) == sorted(second)
    assert first != second


def test_spawned_workers_open_the_store_themselves(small: SmallStore) -> None:
    dataset = PooledDataset(small.store, batching=Batching(batch_size=64))
    again = pickle.loads(pickle.dumps(dataset))
    assert rows_of(again) == rows_of(dataset)
    assert len(pickle.dumps(dataset)) < 10_000, "no rows, no groups"


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_resumed_is_as_if_never_stopped(small: SmallStore, workers: int) -> None:
    def fresh() -> PooledDataset:
        return PooledDataset(small.store, batching=Batching(batch_size=40, window=160))

    whole = fresh()
    whole.set_epoch(2)
    batches = list(loader(whole, workers))
    for taken in (0, 1, 7, len(batches)):
        state = whole.state_dict(taken=taken, workers=workers)
        resumed = fresh()
        resumed.load_state_dict(pickle.loads(pickle.dumps(state)))
        loaded = loader(resumed, workers)
        assert rows_of(loaded) == rows_of(batches[taken:])
        resumed.set_epoch(3)
        whole.set_epoch(3)
        assert rows_of(loaded) == rows_of(loader(whole, workers)), "the next epoch is whole"
        whole.set_epoch(2)


def test_without_workers_the_data_set_counts_itself(small: SmallStore) -> None:
    dataset = PooledDataset(small.store, batching=Batching(batch_size=100))
    running = iter(dataset)
    for _ in range(4):
        next(running)
    state = dataset.state_dict()
    rest = rows_of(running)
    other = PooledDataset(small.store, batching=Batching(batch_size=100))
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert rows_of(other) == rest
    assert len(rows_of(other)) == other.n_rows, "what was resumed begins anew"


def test_a_state_of_another_order_is_refused(small: SmallStore) -> None:
    state = PooledDataset(small.store, batching=Batching(seed=1)).state_dict()
    with pytest.raises(PlanMismatchError, match="seed"):
        PooledDataset(small.store).load_state_dict(state)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
def test_state_dicts_serve_torchdata(small: SmallStore) -> None:
    def fresh() -> Any:
        dataset = PooledDataset(small.store, batching=Batching(batch_size=40, window=160))
        return StatefulDataLoader(dataset, batch_size=None, num_workers=2)

    first = fresh()
    running = iter(first)
    for _ in range(5):
        next(running)
    state = first.state_dict()
    rest = rows_of(running)
    second = fresh()
    second.load_state_dict(state)
    assert rows_of(second) == rest


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_states_come_in_the_dtype_that_is_asked_for(small: SmallStore, dtype: str) -> None:
    plain = PooledDataset(small.store, batching=Batching(batch_size=64))
    other = PooledDataset(small.store, batching=Batching(batch_size=64, dtype=dtype))
    for one, two in zip(plain, other, strict=True):
        assert two.states.dtype is getattr(torch, dtype)
        torch.testing.assert_close(two.states, one.states.to(two.states.dtype), rtol=0, atol=0)


def test_memory_is_one_window_whatever_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All buffers of states are counted: of windows by their making, of reads by tracemalloc."""
    store, _ = known_store(tmp_path / "store.zarr", n_texts=9000, hidden_size=64)
    made = []
    empty = torch.empty

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        made.append(empty(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(states_module.torch, "empty", counted)
    dataset = PooledDataset(store, batching=Batching(batch_size=128, window=1024))
    running = iter(dataset)
    next(running)
    tracemalloc.start()
    n_rows = sum(len(batch.row) for batch in running)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    window = 1024 * 64 * 2  # held as stored
    assert sum(one.nbytes for one in made) == window, "made once, and used again"
    assert n_rows == 4 * 9000 - 128
    layout = dataset._chunks.parts[0].array.layout
    labels = 8 * dataset.n_rows  # the order of an epoch: small beside states
    assert peak < layout.chunk_bytes + window + labels < n_rows * 64 * 4 / 4


def test_some_rows_and_layers_can_be_chosen(small: SmallStore) -> None:
    rows = np.array([3, 99, 7, 3])
    dataset = PooledDataset(small.store, StateSelection(layers="-1"), rows=rows)
    assert sorted(rows_of(dataset)) == [(c, 3, row) for c in range(2) for row in (3, 7, 99)]


def test_what_is_not_stored_is_named(small: SmallStore, tmp_path: Path) -> None:
    store = small.store
    with pytest.raises(UnknownNameError, match="layer"):
        PooledDataset(store, StateSelection(layers="9"))
    with pytest.raises(UnknownTextError, match="row"):
        PooledDataset(store, rows=np.array([10_000]))
    with pytest.raises(UnknownNameError, match="token sample"):
        TokenDataset(store, sample="none")
    with pytest.raises(UnknownNameError, match="dtype"):
        PooledDataset(store, batching=Batching(dtype="int8"))
    with pytest.raises(InvalidInputError, match="give both"):
        PooledDataset(store, batching=Batching(rank=3, ranks=2))
    known, _ = known_store(tmp_path / "store.zarr", n_texts=20)
    known.begin_checkpoint(spec(checkpoint="step2", weights_digest="other")).begin_poolings(
        ["mean"]
    )
    with pytest.raises(MissingShardsError, match="actstore extract"):
        PooledDataset(known)


def test_a_forked_worker_of_an_object_store_is_refused(bucket: str) -> None:
    store, _ = known_store(f"{bucket}/loaded.zarr", n_texts=20)  # type: ignore[arg-type]
    dataset = PooledDataset(store, batching=Batching(batch_size=5))
    assert len(rows_of(dataset)) == 4 * 20
    with pytest.raises(InvalidInputError, match="spawn"):
        list(loader(dataset, 1, multiprocessing_context="fork"))


def test_importing_probes_needs_no_torch() -> None:
    code = "import sys, actstore.loaders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
