from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actstore.errors import InvalidInputError, PlanMismatchError
from actstore.store import (
    CheckpointGroup,
    Store,
    TokenisedText,
    create_store,
    open_store,
    verify_store,
)
from actstore.store.moving.copying import copy_store
from actstore.store.moving.merging import merge_stores
from actstore.store.moving.request import CopyRequest
from tests.report.scored_store import metric, score
from tests.store.moving.full_store import readings
from tests.support.states import MODEL as KNOWN
from tests.support.states import STATS, known_states, spec


def text_store(path: Path, texts: list[str], *checkpoints: str, **changes: object) -> Store:
    """A store of some texts with states that depend on the texts alone."""
    store = create_store(path)
    store.add_texts(texts)
    for name in checkpoints:
        extract(store, store.begin_checkpoint(spec(checkpoint=name, **changes)))
    return store


def extract(store: Store, group: CheckpointGroup, higher: float = 0) -> None:
    """Fill what is to do. higher: is added to all states."""
    group.begin_poolings(["mean"])
    for shard in group.todo(store.text_rows(), ["mean"]):
        numbers = np.array([int(text.split()[1]) for text in store.read_texts(shard.rows)])
        builder = group.new_builder()
        builder.put(shard.positions, known_states(numbers, group.spec) + np.float16(higher))
        n_tokens = (numbers % 7 + 1).astype(np.int32)
        group.commit(shard, {"mean": builder}, n_tokens, n_tokens > 5, STATS)


def states_of(store: Store, checkpoint: str, texts: list[str]) -> np.ndarray:
    return store.embeddings(KNOWN, checkpoint=checkpoint, layer=2, texts=texts)


def numbered(*numbers: int) -> list[str]:
    return [f"text {number}" for number in numbers]


def test_a_merge_into_nothing_is_a_copy(full: Store, tmp_path: Path) -> None:
    merge_stores(tmp_path / "m.zarr", [full])
    assert readings(open_store(tmp_path / "m.zarr")) == readings(full)


def test_checkpoints_of_the_same_texts_come_together_byte_for_byte(
    full: Store, tmp_path: Path
) -> None:
    for name in ("step0", "step1000"):
        copy_store(full, tmp_path / f"{name}.zarr", CopyRequest(checkpoints=(name,)))
    sources = [open_store(tmp_path / f"{name}.zarr") for name in ("step0", "step1000")]
    report = merge_stores(tmp_path / "m.zarr", sources)
    merged = open_store(tmp_path / "m.zarr")
    assert readings(merged) == readings(full)
    assert report.unfinished == ()
    shards = [path.relative_to(full.path) for path in full.path.rglob("mean_pool/c.*")]
    assert all((merged.path / key).read_bytes() == (full.path / key).read_bytes() for key in shards)


def test_a_merge_run_again_changes_nothing(full: Store, tmp_path: Path) -> None:
    merge_stores(tmp_path / "m.zarr", [full])
    before = readings(open_store(tmp_path / "m.zarr"))
    report = merge_stores(tmp_path / "m.zarr", [full])
    assert (report.n_results, report.n_texts) == (0, report.n_texts_before)
    assert readings(open_store(tmp_path / "m.zarr")) == before


def test_texts_that_stand_in_other_rows_keep_their_states(tmp_path: Path) -> None:
    first, second = numbered(*range(100)), numbered(*range(250, 60, -1))
    a = text_store(tmp_path / "a.zarr", first, "step1")
    b = text_store(tmp_path / "b.zarr", second, "step2")
    report = merge_stores(tmp_path / "m.zarr", [a, b])
    merged = open_store(tmp_path / "m.zarr")
    assert report.n_texts == len({*first, *second})
    assert (states_of(merged, "step1", first) == states_of(a, "step1", first)).all()
    new = [text for text in second if text not in first]
    assert (states_of(merged, "step2", new) == states_of(b, "step2", new)).all()
    assert verify_store(merged).problems == ()


def test_shards_that_a_source_cannot_fill_stay_to_do_and_are_told(tmp_path: Path) -> None:
    a = text_store(tmp_path / "a.zarr", numbered(*range(100)), "step1")
    b = text_store(tmp_path / "b.zarr", numbered(*range(90, 300)), "step2")
    report = merge_stores(tmp_path / "m.zarr", [a, b])
    told = {one.checkpoint: one for one in report.unfinished}
    merged = open_store(tmp_path / "m.zarr")
    for name in ("step1", "step2"):
        group = merged.checkpoint(KNOWN, name)
        todo = group.todo(merged.text_rows(), ["mean"])
        assert told[name].n_shards == len(todo)
        assert f"--checkpoints {name} --pooling mean" in told[name].command
        extract(merged, group)
    assert merge_stores(tmp_path / "m.zarr", [a, b]).unfinished == ()


def test_the_same_checkpoint_of_different_texts_comes_together(tmp_path: Path) -> None:
    first, second = numbered(*range(128)), numbered(*range(128, 300))
    a = text_store(tmp_path / "a.zarr", first, "step1")
    b = text_store(tmp_path / "b.zarr", second, "step1")
    report = merge_stores(tmp_path / "m.zarr", [a, b])
    merged = open_store(tmp_path / "m.zarr")
    assert report.unfinished == ()
    assert (states_of(merged, "step1", first) == states_of(a, "step1", first)).all()
    assert (states_of(merged, "step1", second) == states_of(b, "step1", second)).all()


def test_states_that_the_target_has_stay(tmp_path: Path) -> None:
    texts = numbered(*range(100))
    a = text_store(tmp_path / "a.zarr", texts, "step1")
    b = create_store(tmp_path / "b.zarr")
    b.add_texts(texts)
    extract(b, b.begin_checkpoint(spec()), higher=1)
    before = states_of(a, "step1", texts)
    merge_stores(a.path, [b])
    assert (states_of(open_store(a.path), "step1", texts) == before).all()


def test_token_samples_tasks_and_values_follow_their_texts(full: Store, tmp_path: Path) -> None:
    other = create_store(tmp_path / "m.zarr")
    other.add_texts([f"another {i}" for i in range(10)])
    merge_stores(other.path, [full])
    merged = open_store(other.path)
    ours, theirs = readings(merged), readings(full)
    shifted = {"texts", "sources"}
    stale = {name for name in theirs if "/lens " in name}
    assert {name for name in theirs if ours.get(name) != theirs[name]} == shifted | stale
    assert (merged.task("Near").rows() != full.task("Near").rows()).all()


def test_the_latest_score_counts(full: Store, tmp_path: Path) -> None:
    merge_stores(tmp_path / "m.zarr", [full])
    full.record_scores([score("step0", 1, "Near", 0.9)])
    full.record_metrics([metric("step0", 1, "effective_rank", 4.0)])
    merged = open_store(tmp_path / "m.zarr")
    merged.record_scores([score("step0", 2, "Near", 0.8)])
    merge_stores(merged.path, [full])
    scores = merged.scores().set_index(["task", "checkpoint", "layer"])["main_score"]
    assert scores["Near", "step0", 1] == 0.9
    assert scores["Near", "step0", 2] == 0.8
    assert merged.metrics()["value"].sel(checkpoint="step0", layer=1).max() == 4.0


@pytest.mark.parametrize(
    "changes",
    [{"tokenizer_digest": "other"}, {"max_tokens": 99}, {"weights_digest": "other"}],
    ids=lambda changes: next(iter(changes)),
)
def test_other_tokenizers_or_weights_are_refused_by_name(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    a = text_store(tmp_path / "a.zarr", numbered(1, 2, 3), "step1")
    b = text_store(tmp_path / "b.zarr", numbered(4, 5), "step1", **changes)
    with pytest.raises(PlanMismatchError, match=next(iter(changes))):
        merge_stores(tmp_path / "m.zarr", [a, b])
    assert not (tmp_path / "m.zarr").exists()


def test_another_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    a = text_store(tmp_path / "a.zarr", numbered(1, 2, 3), "step1")
    b = text_store(tmp_path / "b.zarr", numbered(4, 5), "step2", tokenizer_digest="other")
    with pytest.raises(PlanMismatchError, match="tokenizer_digest"):
        merge_stores(a.path, [b])
    assert a.checkpoints(KNOWN) == ["step1"]


def test_a_task_of_other_data_is_refused(full: Store, tmp_path: Path) -> None:
    merge_stores(tmp_path / "m.zarr", [full])
    calls = pa.table({"split": ["test"], "subset": ["default"], "prompt_type": [""], "rows": [[1]]})
    full.write_task("Near", {"digest": "newer"}, calls, {})
    with pytest.raises(PlanMismatchError, match="actstore collect"):
        merge_stores(tmp_path / "m.zarr", [full])


def test_a_sample_of_other_texts_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    stores = []
    for name, row in (("a", 1), ("b", 2)):
        store = text_store(tmp_path / f"{name}.zarr", numbered(*range(9)), "step1")
        ids, flags = np.arange(3, dtype=np.int32), np.zeros(3, bool)
        text = TokenisedText(row, ids, flags, ids)
        store.checkpoint(KNOWN, "step1").begin_token_sample("sample", [text])
        stores.append(store)
    with pytest.raises(PlanMismatchError, match="'sample' .*step1"):
        merge_stores(tmp_path / "m.zarr", stores)
    assert not (tmp_path / "m.zarr").exists()


def test_a_store_is_not_merged_with_itself(full: Store) -> None:
    with pytest.raises(InvalidInputError, match="twice"):
        merge_stores(full.path, [full])
