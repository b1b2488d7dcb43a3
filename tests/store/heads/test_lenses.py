"""Fitted lenses on disk: read as written, refused when damaged or out of date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from actstore import __version__
from actstore.errors import CorruptShardError, PlanMismatchError, UnknownNameError
from actstore.store import CheckpointGroup, LensHead, open_store, verify_store
from actstore.store.arrays.zarr_metadata import (
    read_attributes,
    write_group,
)
from actstore.store.heads.lenses import (
    LensWriter,
    check_lens,
    head_digest,
    lens_prefix,
    states_digest,
)
from actstore.store.records.journal import Json
from actstore.store.schema import GROUPS
from tests.metrics.small_store import HIDDEN, MODEL, N_BLOCKS, SmallStore, small_head, small_store

LAYERS = tuple(range(N_BLOCKS))


@pytest.fixture
def small(tmp_path: Path) -> SmallStore:
    return small_store(tmp_path)


@pytest.fixture
def group(small: SmallStore) -> CheckpointGroup:
    return small.store.checkpoint(MODEL, "step0")


@pytest.fixture
def maps(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight = rng.standard_normal((N_BLOCKS, HIDDEN, HIDDEN), np.float32)
    return weight, rng.standard_normal((N_BLOCKS, HIDDEN), np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def fitted_to(group: CheckpointGroup) -> dict[str, Json]:
    return {
        "kind": "affine",
        "sample": "sample",
        "states": states_digest(group, "sample"),
        "head": head_digest(group),
        "kl_bits": [0.3, 0.2, 0.1],
    }


def put_all(group: CheckpointGroup, maps: tuple[NDArray[np.float32], ...]) -> LensWriter:
    writer = LensWriter(group, "affine", LAYERS)
    for layer in reversed(LAYERS):  # in any order
        writer.put(layer, maps[0][layer], maps[1][layer])
    return writer


@pytest.fixture
def stored(
    group: CheckpointGroup, maps: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> CheckpointGroup:
    group.finish_lens(put_all(group, maps), fitted_to(group))
    return group


def folder_of(group: CheckpointGroup) -> Path:
    return Path(group.storage.url) / group.prefix / "lenses/affine"


def test_a_lens_is_read_as_it_was_written(
    stored: CheckpointGroup, maps: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    reopened = open_store(stored.storage.url).checkpoint(MODEL, "step0")
    assert reopened.lenses() == ["affine"]
    lens = reopened.lens("affine")
    assert (lens.weight == maps[0]).all()
    assert (lens.bias == maps[1]).all()
    assert (lens.name, lens.layers, lens.last_layer) == ("affine", LAYERS, N_BLOCKS)
    assert lens.fitted["kl_bits"] == [0.3, 0.2, 0.1]
    assert lens.fitted["plan"] == stored.spec.digest()
    assert lens.fitted["actstore"] == __version__
    assert open_store(stored.storage.url).checkpoint(MODEL, "step1000").lenses() == []


def test_any_zarr_reader_opens_a_lens_as_it_is_declared(
    stored: CheckpointGroup, maps: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    dataset = xr.open_zarr(folder_of(stored), chunks=None)
    assert dataset["layer"].values.tolist() == list(LAYERS)
    assert (dataset["weight"].values == maps[0]).all()
    declared = next(g for g in GROUPS if g.path.endswith("/lenses/{lens}"))
    group = zarr.open_group(folder_of(stored), mode="r")
    for array in declared.arrays:
        found = group[array.name]
        assert isinstance(found, zarr.Array)
        assert (found.metadata.dimension_names, str(found.dtype)) == (array.dims, array.dtype)
    checkpoint = zarr.open_group(folder_of(stored).parents[1], mode="r", use_consolidated=True)
    assert "lenses/affine/weight" in dict(checkpoint.members(max_depth=None))


def test_a_lens_exists_once_it_is_whole(
    group: CheckpointGroup, maps: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    writer = put_all(group, maps)
    assert group.lenses() == []
    with pytest.raises(UnknownNameError, match="fit-lens .*--lens affine .*--checkpoints step0"):
        group.lens("affine")
    group.finish_lens(writer, fitted_to(group))
    assert group.lenses() == ["affine"]


def test_writing_a_lens_again_hides_the_old_one_until_the_new_one_is_whole(
    stored: CheckpointGroup, maps: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    other = (maps[0] + 1, maps[1])
    writer = put_all(stored, other)
    assert stored.lenses() == []
    stored.finish_lens(writer, fitted_to(stored))
    assert (stored.lens("affine").weight == other[0]).all()


def test_a_lens_that_there_is_none_of_is_named_with_the_nearest(stored: CheckpointGroup) -> None:
    with pytest.raises(UnknownNameError, match="affin.*affine"):
        stored.lens("affin")


@pytest.mark.parametrize(("array", "chunk"), [("weight", "c.1.0.0"), ("bias", "c.2.0")])
def test_damage_is_found_and_named(stored: CheckpointGroup, array: str, chunk: str) -> None:
    path = folder_of(stored) / array / chunk
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    check_lens(stored, "affine", quick=True)
    for read in (lambda: stored.lens("affine"), lambda: check_lens(stored, "affine", quick=False)):
        with pytest.raises(CorruptShardError, match=f"{array}/{chunk} is not what was written"):
            read()
    path.write_bytes(whole[:-1])
    with pytest.raises(CorruptShardError, match=f"{chunk} has .* bytes.*fit-lens .*--overwrite"):
        check_lens(stored, "affine", quick=True)
    path.unlink()
    for quick in (True, False):
        with pytest.raises(CorruptShardError, match=f"{chunk} is missing"):
            check_lens(stored, "affine", quick=quick)


def test_two_layers_that_changed_places_are_damage(stored: CheckpointGroup) -> None:
    first, second = (folder_of(stored) / "weight" / f"c.{i}.0.0" for i in (0, 1))
    first_bytes = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_bytes)
    with pytest.raises(CorruptShardError, match="c.0.0.0 is not what was written"):
        stored.lens("affine")


def test_a_lens_is_out_of_date_once_the_head_is_another(
    stored: CheckpointGroup, small: SmallStore, rng: np.random.Generator
) -> None:
    stored.write_head(small.head)
    assert stored.lens("affine").name == "affine"
    stored.write_head(small_head(rng))
    with pytest.raises(PlanMismatchError, match="lens head has changed. Fit it again: .* fit-lens"):
        stored.lens("affine")


def test_what_a_head_does_not_use_does_not_make_a_lens_out_of_date(
    stored: CheckpointGroup, small: SmallStore
) -> None:
    arrays = {**small.head.arrays, "unused": np.zeros(3, np.float32)}
    stored.write_head(LensHead(small.head.ops, arrays, 1e-3))
    assert stored.lens("affine").name == "affine"


def test_a_lens_is_out_of_date_once_its_states_are_others(stored: CheckpointGroup) -> None:
    record = next(r for r in stored.ledger.records() if r["array"] == "tokens/sample/states")
    stored.ledger.record([{**record, "digest": "0" * 32}])
    with pytest.raises(PlanMismatchError, match="states of the token sample 'sample' have changed"):
        stored.lens("affine")


def test_a_lens_outlives_the_states_it_was_fitted_to(stored: CheckpointGroup) -> None:
    (Path(stored.storage.url) / stored.prefix / "tokens/sample/zarr.json").unlink()
    assert stored.lens("affine").name == "affine"


def test_an_altered_plan_makes_a_lens_out_of_date(stored: CheckpointGroup) -> None:
    prefix = lens_prefix(stored, "affine")
    attributes = json.dumps(read_attributes(stored.storage, prefix))
    altered = json.loads(attributes.replace(stored.spec.digest(), "another"))
    write_group(stored.storage, prefix, altered, consolidate=True)
    with pytest.raises(PlanMismatchError, match="plan has changed"):
        stored.lens("affine")


@pytest.mark.parametrize("quick", [True, False])
def test_verify_finds_a_damaged_lens_and_repair_makes_room_for_another(
    stored: CheckpointGroup, quick: bool
) -> None:
    store = open_store(stored.storage.url)
    assert verify_store(store, quick=quick).problems == ()
    chunk = folder_of(stored) / "bias" / "c.1.0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    report = verify_store(store, quick=quick, repair=True)
    [problem] = report.problems
    assert report.n_lenses == 1
    assert (problem.array, problem.rows) == ("lenses/affine", None)
    assert re.search(r"actstore fit-lens .* --lens affine .* --overwrite", problem.command)
    assert stored.lenses() == []
