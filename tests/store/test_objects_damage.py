"""Objects besides shards: altered, cut, deleted or exchanged, they are named, never believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actstore.errors import ActstoreError, CorruptShardError
from actstore.store import Store, bundles, open_store
from actstore.store.arrays.zarr_metadata import (
    read_document,
    write_document,
)
from actstore.store.records import experiments
from actstore.store.results import kept
from actstore.store.texts import views
from tests.metrics.small_store import MODEL, small_store

Harm = Callable[[Path], object]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


HARMS: tuple[Harm, ...] = (flip, cut, empty, Path.unlink)
harms = pytest.mark.parametrize("harm", HARMS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = small_store(tmp_path, views=True).store
    rows = made.add_texts(["text number 3", "text number 4"])
    calls = pa.table({"split": ["t"], "subset": [""], "prompt_type": [""], "rows": [rows]})
    for name in ("One", "Two"):
        made.write_task(name, {"type": "STS"}, calls, {"data": pa.table({"name": [name]})})
        made.write_suite(name, {"tasks": [{"name": name}]})
    made.keep_experiment("digest", "name", "yaml: 1")
    for key in ("one", "two"):
        kept.keep(made.storage, kept.FITS, key, {"mean": np.array([len(key)])})
    return open_store(made.url)


def keys(store: Store) -> set[str]:
    """Everything that a check names."""
    group = store.checkpoint(MODEL, "step0")
    found = [
        *bundles.damage(store.storage, quick=False),
        *views.damage(store.storage, quick=False),
        *kept.damage(store.storage, kept.FITS, quick=False),
        *experiments.damage(store.storage),
        *store.model_damage(MODEL, quick=False),
        *group.damage(quick=False),
        *group.token_sample("sample").damage(quick=False),
    ]
    return {one.key for one in found}


def test_a_sound_store_has_no_damage(store: Store) -> None:
    assert keys(store) == set()


@harms
def test_a_table_of_a_task_is_the_one_that_was_frozen_or_none(store: Store, harm: Harm) -> None:
    harm(store.path / "tasks" / "One" / "data.parquet")
    with pytest.raises(CorruptShardError, match=r"task One .*data\.parquet .*collect"):
        store.task("One").table("data")
    assert keys(store) == {"tasks/One/data.parquet", "tasks/One/manifest.json"}


def test_a_table_of_another_task_is_refused(store: Store) -> None:
    folder = store.path / "tasks"
    (folder / "One" / "data.parquet").write_bytes((folder / "Two" / "data.parquet").read_bytes())
    with pytest.raises(CorruptShardError, match="not the table that was frozen"):
        store.task("One").table("data")


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_a_damaged_suite_is_no_suite(store: Store, harm: Harm) -> None:
    harm(store.path / "suites" / "One.json")
    with pytest.raises(CorruptShardError, match=r"suites/One\.json"):
        store.suite("One")
    assert keys(store) == {"suites/One.json"}


@harms
@pytest.mark.parametrize("name", ["n_tokens", "truncated"])
def test_lengths_of_texts_are_those_committed_and_made_again(
    store: Store, harm: Harm, name: str
) -> None:
    group = store.checkpoint(MODEL, "step0")
    key = f"{group.model_prefix}/{name}/c.0"
    harm(store.path / key)
    with pytest.raises(CorruptShardError, match=r"lengths of texts.*--repair.*extract"):
        store.text_lengths(MODEL)
    found = keys(store)
    assert key in found
    for one in found:
        store.storage.delete(one)
    assert 0 in {shard.index for shard in group.todo(store.text_rows(), ["mean"])}


def test_lengths_that_no_record_speaks_of_are_none(store: Store) -> None:
    group = store.checkpoint(MODEL, "step0")
    before = store.text_lengths(MODEL)
    row = int(store.add_texts(["a text that is new"])[0])
    shard = row // group.layout.rows_per_shard
    group.lengths.write(shard, np.array([0]), np.array([7], np.int32), np.array([True]))
    after = open_store(store.url).text_lengths(MODEL)
    assert after["n_tokens"].tolist() == [*before["n_tokens"].tolist(), 0]
    assert keys(store) == set()


@harms
@pytest.mark.parametrize("label", ["row", "token_id", "is_special"])
def test_labels_of_tokens_are_those_written(store: Store, harm: Harm, label: str) -> None:
    prefix = store.checkpoint(MODEL, "step0").token_sample("sample").prefix
    harm(store.path / prefix / label / "c.0")
    sample = open_store(store.url).checkpoint(MODEL, "step0").token_sample("sample")
    with pytest.raises(CorruptShardError, match=label):
        getattr(sample, label)
    assert keys(store) == {f"{prefix}/{label}/zarr.json", f"{prefix}/zarr.json"}


@pytest.mark.parametrize("harm", [flip, cut, empty])
@pytest.mark.parametrize("of", ["model", "checkpoint", "sample"])
def test_a_damaged_group_is_not_opened(store: Store, harm: Harm, of: str) -> None:
    group = store.checkpoint(MODEL, "step0")
    sample = group.token_sample("sample").prefix
    prefix = {"model": group.model_prefix, "checkpoint": group.prefix, "sample": sample}[of]
    harm(store.path / prefix / "zarr.json")

    try:
        found = keys(open_store(store.url))
    except ActstoreError as error:
        found = {str(error)}
    assert any(f"{prefix}/zarr.json" in one for one in found)


def test_a_group_in_the_place_of_another_is_refused(store: Store) -> None:
    one, other = (store.checkpoint(MODEL, name).prefix for name in ("step0", "step1000"))
    (store.path / one / "zarr.json").write_bytes((store.path / other / "zarr.json").read_bytes())
    with pytest.raises(CorruptShardError, match="in this place"):
        store.checkpoint(MODEL, "step0")


@pytest.mark.parametrize("name", ["mean_pool", "layer"])
def test_an_arrays_document_is_what_the_plan_implies_and_is_written_again(
    store: Store, name: str
) -> None:
    group = store.checkpoint(MODEL, "step0")
    prefix = f"{group.prefix}/{name}"
    document = read_document(store.storage, prefix)
    write_document(store.storage, prefix, {**document, "dimension_names": ["a"] * 3})
    assert keys(store) == {f"{prefix}/zarr.json"}
    store.storage.delete(f"{prefix}/zarr.json")
    group.begin_poolings(())
    assert keys(store) == set()


@harms
def test_what_was_kept_is_what_is_read(store: Store, harm: Harm) -> None:
    places = sorted((store.path / "fits").glob("*.npz"))
    harm(places[0])
    values = []
    for key in ("one", "two"):
        try:
            found = kept.read_kept(store.storage, kept.FITS, key)
        except CorruptShardError:
            found = None
        values.append(found)
    assert values.count(None) == 1
    assert keys(store) == (set() if harm is Path.unlink else {f"fits/{places[0].name}"})


def test_fits_that_changed_places_are_refused(store: Store) -> None:
    one, two = sorted((store.path / "fits").glob("*.npz"))
    one.write_bytes(two.read_bytes())
    assert keys(store) == {f"fits/{one.name}"}


def test_an_experiment_is_the_one_that_was_kept(store: Store) -> None:
    (store.path / "experiments" / "digest.yaml").write_text("yaml: 2")
    with pytest.raises(CorruptShardError, match=r"digest\.yaml"):
        store.experiments()
    assert keys(store) == {"experiments/digest.json", "experiments/digest.yaml"}


def test_records_of_another_checkpoint_or_plan_do_not_count(store: Store) -> None:
    group, other = (store.checkpoint(MODEL, name) for name in ("step0", "step1000"))
    (journal,) = (store.path / group.prefix / "ledger").glob("*.jsonl")
    (journal_of_other,) = (store.path / other.prefix / "ledger").glob("*.jsonl")
    pooled = group.committed("mean")
    journal.write_bytes(journal_of_other.read_bytes())
    with pytest.raises(CorruptShardError, match="fails its checksum"):
        group.committed("mean")
    journal.unlink()
    group.ledger.record([{**record, "at": 1.0} for record in other.ledger.records()])
    assert group.committed("mean") == set()
    assert group.ledger.unrecorded("mean_pool") == pooled
