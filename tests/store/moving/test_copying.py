from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import (
    CorruptShardError,
    DiskSpaceError,
    InvalidInputError,
    MissingShardsError,
    PlanMismatchError,
    StateRangeError,
    UnknownNameError,
)
from actstore.store import Store, create_store, open_store, verify_store
from actstore.store.moving.copying import copy_store, planned_copy
from actstore.store.moving.request import CopyRequest
from actstore.store.storage import LocalStorage
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import TASKS, readings
from tests.support.states import STATS, known_store, spec

SHARD = re.compile(r"/(mean_pool|curvature|states)/c\.")


def copied(source: Store, folder: Path, **request: object) -> Store:
    copy_store(source, folder / "copy.zarr", CopyRequest(**request))  # type: ignore[arg-type]
    return open_store(folder / "copy.zarr")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_copy_says_all_that_its_source_says(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path)
    assert readings(copy) == readings(full)
    assert verify_store(copy).problems == ()


def test_shards_are_copied_byte_for_byte(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path)
    shards = [key for key in contents(full.path) if SHARD.search(key)]
    assert len(shards) > 20
    assert all((copy.path / key).read_bytes() == (full.path / key).read_bytes() for key in shards)


def test_a_finished_copy_run_again_writes_nothing(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path)
    before = contents(copy.path)
    assert planned_copy(full, copy.path, CopyRequest()).n_bytes == 0
    assert copy_store(full, copy.path, CopyRequest()).n_results == 0
    assert contents(copy.path) == before


def test_a_plan_says_what_is_written_and_writes_nothing(full: Store, tmp_path: Path) -> None:
    plan = planned_copy(full, tmp_path / "copy.zarr", CopyRequest())
    assert not (tmp_path / "copy.zarr").exists()
    shards = sum(size for key, size in sizes(full.path) if SHARD.search(key))
    assert sum(one.n_bytes for one in plan.checkpoints) == shards
    documents = ("texts/", "views/", "tasks/", "suites/", "experiments/")
    of_documents = [
        (key, size)
        for key, size in sizes(full.path)
        if key.startswith(documents) and not key.endswith(".jsonl")
    ]
    assert plan.document_bytes == sum(size for _, size in of_documents)


def sizes(folder: Path) -> list[tuple[str, int]]:
    return [(key, len(data)) for key, data in contents(folder).items()]


def test_what_the_target_lacks_is_added_to_what_it_has(full: Store, tmp_path: Path) -> None:
    copied(full, tmp_path, checkpoints=("step0",))
    plan = planned_copy(full, tmp_path / "copy.zarr", CopyRequest())
    assert [one.n_shards > 0 for one in plan.checkpoints] == [False, True]
    assert readings(copied(full, tmp_path)) == readings(full)


def test_a_copy_of_some_checkpoints_has_their_results_alone(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path, checkpoints=("step1000",))
    assert copy.checkpoints(MODEL) == ["step1000"]
    assert set(copy.scores()["checkpoint"]) == {"step1000"}
    assert set(copy.metric_table()["checkpoint"]) == {"step1000"}
    assert not list(copy.path.rglob("Near.json"))
    assert copy.tasks() == full.tasks()


def test_a_copy_without_states_or_without_results(full: Store, tmp_path: Path) -> None:
    assert copied(full, tmp_path, states=False).models() == []
    assert len(open_store(tmp_path / "copy.zarr").scores()) == len(full.scores())
    copy_store(full, tmp_path / "other.zarr", CopyRequest(results=False))
    other = open_store(tmp_path / "other.zarr")
    assert other.scores().empty
    assert other.checkpoints(MODEL) == full.checkpoints(MODEL)


def test_a_copy_of_a_task_has_the_shards_of_its_texts_at_the_same_rows(
    full: Store, tmp_path: Path
) -> None:
    copy = copied(full, tmp_path, texts="Far")
    group, source = (one.checkpoint(MODEL, "step0") for one in (copy, full))
    rows = np.array(TASKS["Far"])
    assert (group.read("mean", 2, rows) == source.read("mean", 2, rows)).all()
    with pytest.raises(MissingShardsError):
        group.read("mean", 2, np.array(TASKS["Near"]))
    assert (copy.tasks(), copy.suites()) == (["Far"], [])
    assert set(copy.scores()["task"]) == {"Far"}
    assert copied(full, tmp_path, texts="one/near").suites() == ["one/near"]
    assert copy.text_rows().tolist() == full.text_rows().tolist()


def test_a_copy_of_some_layers_has_their_states(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path, layers="1,-1")
    group, source = (one.checkpoint(MODEL, "step0") for one in (copy, full))
    assert group.layers == (1, 3)
    rows = full.text_rows()[:200]
    for layer in group.layers:
        assert (group.read("mean", layer, rows) == source.read("mean", layer, rows)).all()
        values = (one.read_values("curvature", layer, rows) for one in (group, source))
        np.testing.assert_array_equal(*values)
    ours, theirs = (one.token_sample("sample") for one in (group, source))
    span = ours.spans.iloc[7]
    states = (one.states(3, span.start, span.stop) for one in (ours, theirs))
    np.testing.assert_array_equal(*states)
    assert group.lenses() == []
    assert group.spec.provenance["copied_from"]["plan"] == source.spec.digest()
    assert set(copy.scores()["layer"]) == {1}
    assert verify_store(copy).problems == ()


def test_states_are_copied_in_another_dtype(full: Store, tmp_path: Path) -> None:
    group = copied(full, tmp_path, dtype="float16").checkpoint(MODEL, "step0")
    rows = full.text_rows()[:200]
    exact = full.checkpoint(MODEL, "step0").read("mean", 1, rows)
    assert (group.read("mean", 1, rows) == exact.astype("float16").astype("float32")).all()
    assert group.spec.dtype == "float16"


@pytest.mark.parametrize(("value", "says"), [(1e6, "as large as 1e+06"), (1e-9, "tiny")])
def test_states_that_a_dtype_cannot_hold_are_refused(
    tmp_path: Path, value: float, says: str
) -> None:
    store = create_store(tmp_path / "large.zarr")
    store.add_texts(["a", "b"])
    group = store.begin_checkpoint(spec(dtype="float32"))
    group.begin_poolings(["mean"])
    (shard,) = group.todo(store.text_rows(), ["mean"])
    builder = group.new_builder()
    builder.put(shard.positions, np.full((4, 2, 8), value, np.float32))
    group.commit(shard, {"mean": builder}, np.ones(2, np.int32), np.zeros(2, bool), STATS)
    with pytest.raises(
        StateRangeError, match=f"layer 0 cannot be copied.*{says}".replace("+", ".")
    ):
        copied(store, tmp_path, dtype="float16")


def test_a_target_with_another_plan_is_left_as_it_is(full: Store, tmp_path: Path) -> None:
    copy = copied(full, tmp_path, layers="1", checkpoints=("step0",))
    before = contents(copy.path)
    with pytest.raises(PlanMismatchError, match="layers: the store has"):
        copied(full, tmp_path)
    assert contents(copy.path) == before


def test_a_target_with_other_texts_is_left_as_it_is(full: Store, tmp_path: Path) -> None:
    other = create_store(tmp_path / "copy.zarr")
    other.add_texts(["another text"])
    before = contents(other.path)
    with pytest.raises(PlanMismatchError, match="actstore merge"):
        copied(full, tmp_path)
    assert contents(other.path) == before


def test_a_damaged_shard_is_not_copied(full: Store, tmp_path: Path) -> None:
    shard = next(full.path.rglob("step1000/mean_pool/c.0.1.0"))
    data = bytearray(shard.read_bytes())
    data[50] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptShardError, match="actstore verify"):
        copied(full, tmp_path)
    copy = open_store(tmp_path / "copy.zarr")
    assert 1 not in copy.checkpoint(MODEL, "step1000").committed("mean")
    assert copy.checkpoint(MODEL, "step0").committed("mean")


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda self: 1000)
    with pytest.raises(DiskSpaceError, match="--precision compact"):
        copied(full, tmp_path)
    assert not (tmp_path / "copy.zarr").exists()


@pytest.mark.parametrize(
    "request_",
    [
        {"checkpoints": ("step7",)},
        {"poolings": ("last",)},
        {"layers": "9"},
        {"texts": "Unknown"},
        {"precision": "tiny"},
        {"dtype": "int8"},
        {"model": "nobody"},
    ],
    ids=str,
)
def test_what_is_not_there_is_named(full: Store, tmp_path: Path, request_: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError):
        copied(full, tmp_path, **request_)
    assert not (tmp_path / "copy.zarr").exists()


def test_a_checkpoint_that_is_partly_extracted_is_copied_as_far_as_it_is(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    (store.path / group.prefix / "mean_pool/c.0.2.0").unlink()
    report = copy_store(store, tmp_path / "copy.zarr", CopyRequest())
    copy = open_store(tmp_path / "copy.zarr").checkpoint(group.model, group.checkpoint)
    assert copy.committed("mean") == {0, 1, 3, 4}
    assert report.moved[0].shards_left == 1


def test_copies_go_through_memory(full: Store, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    copy_store(full, url, CopyRequest())
    assert readings(open_store(url)) == readings(full)
    copy_store(open_store(url), tmp_path / "back.zarr", CopyRequest())
    assert readings(open_store(tmp_path / "back.zarr")) == readings(full)


def test_what_was_lost_does_not_come_back(full: Store, tmp_path: Path) -> None:
    copied(full, tmp_path, precision="compact")
    compact = open_store(tmp_path / "copy.zarr")
    with pytest.raises(InvalidInputError, match="extract again"):
        copy_store(compact, tmp_path / "exact.zarr", CopyRequest(precision="exact"))


@pytest.mark.parametrize(("precision", "error"), [("compact", 0.01), ("small", 0.05)])
def test_states_are_copied_smaller(
    full: Store, tmp_path: Path, precision: str, error: float
) -> None:
    group = copied(full, tmp_path, precision=precision).checkpoint(MODEL, "step0")
    assert group.spec.precision == precision
    rows = full.text_rows()[:200]
    exact = full.checkpoint(MODEL, "step0").read("mean", 1, rows)
    found = group.read("mean", 1, rows)
    assert 0 < np.linalg.norm(found - exact) <= error * np.linalg.norm(exact)
