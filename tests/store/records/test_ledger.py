"""Commits that meet others: of killed processes, of other machines, of what was removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actstore.store import CheckpointGroup, create_store, open_store
from actstore.store.arrays.sharded import Shard
from actstore.store.records.ledger import remove_object
from tests.support.states import STATS, known_states, spec

POOLING, VALUE = "mean", "prompt_entropy"
N_TEXTS = 100


@pytest.fixture
def group(tmp_path: Path) -> CheckpointGroup:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts([f"text {i}" for i in range(N_TEXTS)])
    begun = store.begin_checkpoint(spec(dtype="float32"))
    begun.begin_poolings([POOLING])
    begun.begin_text_values([VALUE])
    return begun


def _opened(group: CheckpointGroup) -> CheckpointGroup:
    """As another process has it."""
    return open_store(group.storage.url).checkpoint(group.model, group.checkpoint)


def _states(group: CheckpointGroup, shard: Shard, machine: float) -> np.ndarray:
    """Known states, whose last bits are those of one machine."""
    return known_states(shard.rows, group.spec) * np.float32(1 + machine)


def _values(group: CheckpointGroup, shard: Shard, machine: float) -> np.ndarray:
    rows = np.broadcast_to(shard.rows, (len(group.layers), len(shard.rows)))
    return (rows * np.float32(1 + machine)).astype(np.float32)


def _commit(group: CheckpointGroup, shard: Shard, machine: float, *, record: bool = True) -> None:
    """Commit on a machine; record: False to be killed right before it counts."""
    builder = group.new_builder()
    builder.put(shard.positions, _states(group, shard, machine))
    n_tokens = np.ones(len(shard.rows), np.int32)
    if not record:
        group.ledger.record = _die  # type: ignore[method-assign]
    try:
        values = {VALUE: _values(group, shard, machine)}
        group.commit(shard, {POOLING: builder}, n_tokens, n_tokens > 1, STATS, values)
    except KeyboardInterrupt:
        del group.ledger.record


def _die(records: object) -> None:
    raise KeyboardInterrupt


def _machine(group: CheckpointGroup, shard: Shard) -> float:
    """Whose states are read; every byte is checked against what was committed."""
    group = _opened(group)
    assert shard.index in group.committed(POOLING)
    for name in (f"{POOLING}_pool", VALUE):
        array = group.sharded_array(name)
        array.check(group.ledger.committed(name)[shard.index])  # type: ignore[arg-type]
    read = group.read(POOLING, 3, shard.rows)
    values = group.read_values(VALUE, 3, shard.rows)
    for machine in (0.0, 1e-5):
        if np.array_equal(read, _states(group, shard, machine)[3]):
            assert np.array_equal(values, _values(group, shard, machine)[3])
            return machine
    raise AssertionError("these are nobody's states")


@pytest.fixture
def shard(group: CheckpointGroup) -> Shard:
    return group.todo(group.texts.rows(), [POOLING])[0]


def test_a_sound_shard_that_a_killed_process_left_is_recorded_as_it_is(
    group: CheckpointGroup, shard: Shard
) -> None:
    _commit(group, shard, 1e-5, record=False)
    assert group.committed(POOLING) == set()
    _commit(_opened(group), shard, 0.0)
    assert _machine(group, shard) == 1e-5


def test_two_machines_that_commit_one_shard_at_once_agree_on_what_is_in_it(
    group: CheckpointGroup, shard: Shard
) -> None:
    ours, record = _opened(group), group.ledger.record

    def meanwhile(records: object) -> None:
        _commit(ours, shard, 1e-5)
        record(records)  # type: ignore[arg-type]

    group.ledger.record = meanwhile  # type: ignore[method-assign]
    _commit(group, shard, 0.0)
    assert _machine(group, shard) == 0.0
    digests = {one["digest"] for one in group.ledger.records() if one["array"] == VALUE}
    assert len(digests) == 1


@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_shard_that_a_killed_process_left_is_replaced(
    group: CheckpointGroup, shard: Shard, size: int
) -> None:
    _commit(group, shard, 1e-5, record=False)
    for name in (f"{POOLING}_pool/c.0.0.0", f"{VALUE}/c.0.0"):
        path = Path(group.storage.url, group.prefix, name)
        path.write_bytes(path.read_bytes()[:size])
    _commit(_opened(group), shard, 0.0)
    assert _machine(group, shard) == 0.0


def test_a_shard_that_was_left_in_another_s_place_is_replaced(group: CheckpointGroup) -> None:
    first, second = group.todo(group.texts.rows(), [POOLING])
    for one in (first, second):
        _commit(group, one, 0.0, record=False)
    for name in (f"{POOLING}_pool/c.0.{{}}.0", f"{VALUE}/c.0.{{}}"):
        paths = [Path(group.storage.url, group.prefix, name.format(i)) for i in (0, 1)]
        paths[0].write_bytes(paths[1].read_bytes())
    _commit(_opened(group), first, 0.0)
    assert _machine(group, first) == 0.0


@pytest.mark.parametrize("ahead", [0.0, 3600.0])
def test_the_record_of_a_removed_shard_does_not_speak_for_the_next_one(
    group: CheckpointGroup, shard: Shard, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    now: Callable[[], float] = time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    _commit(group, shard, 0.0)
    for name in (f"{POOLING}_pool", VALUE):
        group.ledger.remove(name, [shard.index])
    monkeypatch.undo()
    assert _opened(group).committed(POOLING) == set()
    _commit(group, shard, 1e-5, record=False)
    assert _opened(group).committed(POOLING) == set()
    _commit(_opened(group), shard, 0.0)
    assert _machine(group, shard) == 1e-5


@pytest.mark.parametrize("by_key", [False, True])
def test_removing_takes_no_other_shard(group: CheckpointGroup, by_key: bool) -> None:
    first, second = group.todo(group.texts.rows(), [POOLING])
    for one in (first, second):
        _commit(group, one, 0.0)
    if by_key:
        remove_object(group.storage, f"{group.prefix}/{POOLING}_pool/c.0.{first.index}.0")
    else:
        group.ledger.remove(f"{POOLING}_pool", [first.index])
    assert _opened(group).committed(POOLING) == {second.index}
    assert _opened(group).committed_values(VALUE) == {first.index, second.index}
