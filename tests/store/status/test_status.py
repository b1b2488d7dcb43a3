from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from actstore.store import CheckpointGroup, Store, StoreStatus, TokenisedText, extraction_status
from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Leases
from actstore.store.status.extraction import CheckpointStatus
from actstore.store.storage import LocalStorage
from tests.support.states import MODEL, STATS, commit_known, fill, known_store, spec


def _checkpoints(status: StoreStatus) -> dict[str, CheckpointStatus]:
    return {one.checkpoint: one for model in status.models for one in model.checkpoints}


def _counts(one: CheckpointStatus) -> dict[str, tuple[int, int]]:
    return {array.array: (array.done, array.total) for array in one.arrays}


def _begin_second(store: Store, n_done: int = 0) -> CheckpointGroup:
    """`step2`, with some shards committed."""
    group = store.begin_checkpoint(spec(checkpoint="step2"))
    group.begin_poolings(["mean"])
    for shard in group.todo(store.text_rows(), ["mean"])[:n_done]:
        commit_known(group, shard, ("mean",))
    return group


def test_status_counts_the_shards_of_every_array(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    _begin_second(store, n_done=1)
    found = extraction_status(store)
    assert {name: _counts(one) for name, one in _checkpoints(found).items()} == {
        "step1": {"mean_pool": (5, 5)},
        "step2": {"mean_pool": (1, 5)},
    }
    (model,) = found.models
    assert (model.model, model.progress.done, model.progress.total) == (MODEL, 6, 10)
    store.add_texts(["one more"])
    fill(store.begin_checkpoint(spec()))
    again = _checkpoints(extraction_status(store))
    assert _counts(again["step1"]) == {"mean_pool": (6, 6)}
    assert _counts(again["step2"]) == {"mean_pool": (1, 6)}


def test_status_counts_token_samples_and_text_values(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    group.begin_text_values(["prompt_entropy"])
    texts = [
        TokenisedText(row, np.arange(40, dtype=np.int32), np.zeros(40, bool), np.ones(40, np.int32))
        for row in range(7)
    ]
    sample = group.begin_token_sample("sample", texts)
    n_shards = len(sample.todo())
    assert n_shards > 1
    shard = sample.todo()[0]
    builder = sample.new_builder()
    states = np.zeros((4, len(shard.rows), 8), np.float16)
    builder.put(shard.positions, states)
    sample.commit(shard, builder, STATS)
    (one,) = _checkpoints(extraction_status(store)).values()
    assert _counts(one) == {
        "mean_pool": (5, 5),
        "prompt_entropy": (0, 5),
        "tokens/sample/states": (1, n_shards),
    }
    assert (one.progress.done, one.progress.total) == (6, 10 + n_shards)


def test_a_shard_without_its_object_or_its_record_is_not_done(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    store.storage.delete(f"{group.prefix}/mean_pool/c.0.2.0")
    (one,) = _checkpoints(extraction_status(store)).values()
    assert _counts(one) == {"mean_pool": (4, 5)}
    (journal,) = store.storage.path(f"{group.prefix}/ledger").glob("*.jsonl")
    journal.unlink()
    (one,) = _checkpoints(extraction_status(store)).values()
    assert _counts(one) == {"mean_pool": (0, 5)}


def test_a_checkpoint_that_was_only_begun_has_no_pace_and_no_end(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    _begin_second(store)
    one = _checkpoints(extraction_status(store))["step2"]
    assert (one.progress.done, one.progress.total) == (0, 5)
    assert (one.progress.tokens_per_second, one.progress.seconds_left) == (None, None)
    assert (one.last_commit, one.workers, one.last_error) == (None, (), None)


def test_what_a_killed_process_had_only_half_begun_is_not_there(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    for half in (f"models/{MODEL}2", f"{group.model_prefix}/step9", f"{group.prefix}/tokens/half"):
        store.storage.create(f"{half}/layer/zarr.json", b"{}")
    (one,) = _checkpoints(extraction_status(store)).values()
    assert one.checkpoint == "step1"
    assert _counts(one) == {"mean_pool": (5, 5)}
    assert _begin_second(store, n_done=5).committed("mean") == set(range(5))


def test_the_time_left_is_told_while_somebody_is_at_work(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    _begin_second(store, n_done=2)
    alone = extraction_status(store)
    assert _checkpoints(alone)["step2"].progress.seconds_left is None
    assert alone.models[0].progress.seconds_left is None
    with Leases(store.storage, seconds=60) as leases:
        leases.claim(f"{MODEL}/step2/pooled/2")
        leases.claim(f"{MODEL}/step2/pooled/3")
        leases.claim(f"{MODEL}/step22/pooled/0")
        found = extraction_status(store)
    one = _checkpoints(found)["step2"]
    assert one.workers == (leases.worker,)
    assert _checkpoints(found)["step1"].workers == ()
    assert [lease.unit for lease in found.leases] == [
        f"{MODEL}/step2/pooled/2",
        f"{MODEL}/step2/pooled/3",
        f"{MODEL}/step22/pooled/0",
    ]
    speed = one.progress.tokens_per_second
    assert speed is not None  # 10 tokens and half a second a shard
    assert 0.0 < speed <= 40.0
    assert one.progress.seconds_left == pytest.approx(3 * 10 / speed)
    assert _checkpoints(found)["step1"].progress.seconds_left == 0.0
    left = found.models[0].progress.seconds_left
    assert left is not None
    assert left > 0


def test_the_last_error_stands_at_its_checkpoint_or_at_the_store(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    _begin_second(store)
    log = RunLog(store.storage, command=["actstore"], settings={})
    log.event("error", error="StateRangeError", message="old", model=MODEL, checkpoint="step2")
    log.event("error", error="StateRangeError", message="NaN", model=MODEL, checkpoint="step2")
    log.event("error", error="DiskSpaceError", message="full")
    found = extraction_status(store)
    one = _checkpoints(found)["step2"]
    assert one.last_error is not None
    assert one.last_error.error == "StateRangeError: NaN"
    assert time.time() - one.last_error.at < 60
    assert _checkpoints(found)["step1"].last_error is None
    assert found.last_error is not None
    assert found.last_error.error == "DiskSpaceError: full"


def test_each_ledger_is_read_once_and_no_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    group.begin_poolings(["mean", "last", "max"])
    reads: Counter[str] = Counter()
    read = LocalStorage.read

    def counted(self: LocalStorage, key: str) -> bytes:
        reads[key] += 1
        return read(self, key)

    monkeypatch.setattr(LocalStorage, "read", counted)
    extraction_status(store)
    ledgers = [key for key in reads if "/ledger/" in key and key.endswith(".jsonl")]
    assert [reads[key] for key in ledgers] == [1]
    assert not [key for key in reads if "/c." in key]
