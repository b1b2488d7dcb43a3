from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.store import Store, open_store, verify_store
from actstore.store.moving.dropping import DropRequest, drop, plan_drop
from actstore.store.sharing.leases import Leases
from actstore.store.storage import LocalStorage
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import readings
from tests.support.states import MODEL as KNOWN
from tests.support.states import fill, known_store, spec

N_SHARDS = 7
"""Of a checkpoint of the full store: 230 texts, and their views in a part of their own."""


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_dropped_checkpoint_is_gone_and_the_rest_is_as_it_was(full: Store) -> None:
    before = readings(full)
    folder = full.path / "models/someone__small/step0"
    n_bytes = size(folder)
    plan = drop(full, DropRequest(MODEL, ("step0",)))
    assert plan.n_bytes == n_bytes
    assert not folder.exists()
    after = readings(open_store(full.path))
    assert {name for name in before if after.get(name) != before[name]} == {
        name for name in before if name.startswith(f"{MODEL}/step0/")
    }
    assert verify_store(open_store(full.path)).problems == ()


def test_the_plan_says_what_is_lost_and_what_makes_it_again(full: Store) -> None:
    before = readings(full)
    plan = plan_drop(full, DropRequest(MODEL, ("step0",)))
    assert plan.n_results == 8
    assert "--checkpoints step0 --pooling mean --dtype float32" in plan.checkpoints[0].command
    assert readings(open_store(full.path)) == before


def test_results_go_where_they_are_meant_to(full: Store) -> None:
    drop(full, DropRequest(MODEL, ("step0",), results=True))
    store = open_store(full.path)
    assert set(store.scores()["checkpoint"]) == {"step1000"}
    assert set(store.metric_table()["checkpoint"]) == {"step1000"}
    assert set(store.score_leaves("Near")["checkpoint"]) == {"step1000"}
    assert not list(store.path.rglob("Near.json"))


def test_a_dropped_pooling_leaves_the_others(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    fill(group, ("mean", "last"))
    rows = store.text_rows()
    last = group.read("last", 1, rows)
    drop(store, DropRequest(KNOWN, ("step1",), poolings=("mean",)))
    group = open_store(store.path).checkpoint(KNOWN, "step1")
    assert group.poolings() == ["last"]
    assert (group.read("last", 1, rows) == last).all()
    assert {record["array"] for record in group.ledger.records()} == {"last_pool"}
    assert verify_store(open_store(store.path)).problems == ()
    with pytest.raises(UnknownNameError, match="actstore extract"):
        group.read("mean", 1, rows)


def test_the_last_checkpoint_takes_its_model_along(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    assert drop(store, DropRequest(KNOWN, ("step1",))).whole_model
    store = open_store(store.path)
    assert store.models() == []
    other = store.begin_checkpoint(spec(tokenizer_digest="other", max_tokens=99))
    fill(other)
    assert store.text_lengths(KNOWN)["n_tokens"].min() > 0


def test_what_workers_are_at_is_not_dropped(full: Store) -> None:
    before = readings(full)
    with Leases(full.storage, seconds=60, host="another-node") as leases:
        leases.claim(f"{MODEL}/step0/pooled/3")
        with pytest.raises(InvalidInputError, match="another-node.*actstore status"):
            drop(full, DropRequest(MODEL, ("step0",)))
        assert readings(open_store(full.path)) == before
        drop(full, DropRequest(MODEL, ("step1000",)))
    assert full.checkpoints(MODEL) == ["step0"]


@pytest.mark.parametrize(
    "request_",
    [DropRequest("nobody", ("step0",)), DropRequest(MODEL, ("step7",))],
    ids=["model", "checkpoint"],
)
def test_what_is_not_there_is_named(full: Store, request_: DropRequest) -> None:
    with pytest.raises(UnknownNameError, match="There is no"):
        drop(full, request_)


class StoppedHereError(Exception):
    pass


def _stop_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the storage's n-th change be its last."""
    left = [n]

    def counting(name: str) -> None:
        real = getattr(LocalStorage, name)

        def change(self: LocalStorage, key: str, *data: object) -> object:
            if not key.startswith("leases/"):
                if not left[0]:
                    raise StoppedHereError
                left[0] -= 1
            return real(self, key, *data)

        monkeypatch.setattr(LocalStorage, name, change)

    for name in ("delete", "delete_below", "replace"):
        counting(name)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("poolings", [(), ("mean",)], ids=["checkpoint", "pooling"])
def test_a_drop_that_is_stopped_leaves_no_wrong_reading_and_is_gone_on_with(
    full: Store, steps: int, poolings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = readings(full)
    request = DropRequest(MODEL, ("step0",), poolings=poolings)
    with monkeypatch.context() as patched:
        _stop_after(steps, patched)
        try:
            drop(full, request)
        except StoppedHereError:
            left = open_store(full.path)
            _all_readings_are_those_before(left, before)
            patched.undo()
            drop(left, request)
    store = open_store(full.path)
    assert verify_store(store).problems == ()
    group = None if "step0" not in store.checkpoints(MODEL) else store.checkpoint(MODEL, "step0")
    assert (group is None) == (poolings == ())
    assert group is None or group.poolings() == []


def _all_readings_are_those_before(store: Store, before: dict[str, str]) -> None:
    """What is still read is what was read before, of as many texts as still count."""
    for checkpoint in store.checkpoints(MODEL):
        group = store.checkpoint(MODEL, checkpoint)
        if "mean" in group.poolings() and len(group.committed("mean")) == N_SHARDS:
            rows = store.text_rows()
            order = np.argsort(store.read_texts(rows))
            states = group.read("mean", 1, rows)[order].tolist()
            assert repr(states) == before[f"{MODEL}/{checkpoint}/mean 1"]
    assert "step1000" in store.checkpoints(MODEL)
