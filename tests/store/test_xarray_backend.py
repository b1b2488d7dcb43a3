from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from actstore.errors import InvalidInputError, MissingShardsError
from actstore.store import Store
from tests.support.states import MODEL, fill, known_states, known_store, spec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store, _ = known_store(tmp_path / "s.zarr")
    fill(store.begin_checkpoint(spec(checkpoint="main")), ("mean", "last"))
    fill(store.begin_checkpoint(spec(checkpoint="step64")), ("mean", "last"))
    return store


def test_one_dataset_spans_all_checkpoints_in_training_order(store: Store) -> None:
    dataset = xr.open_dataset(store.url, engine="actstore", model=MODEL)
    assert dataset["mean_pool"].dims == ("checkpoint", "layer", "text", "hidden")
    assert dataset["mean_pool"].shape == (3, 4, 300, 8)
    assert dataset["checkpoint"].values.tolist() == ["step1", "step64", "main"]
    np.testing.assert_array_equal(dataset["step"].values, [1.0, 64.0, np.nan])
    assert dataset["row"].values.tolist() == list(range(300))
    np.testing.assert_array_equal(dataset["n_tokens"].values, np.arange(300) % 7 + 1)
    np.testing.assert_array_equal(dataset["truncated"].values, np.arange(300) % 7 + 1 > 5)


def test_the_model_may_be_left_out_where_there_is_only_one(store: Store) -> None:
    assert xr.open_dataset(store.url, engine="actstore").attrs["model"] == MODEL
    store.begin_checkpoint(spec(model="org/second"))
    with pytest.raises(InvalidInputError, match="org/second"):
        xr.open_dataset(store.url, engine="actstore")


@pytest.mark.parametrize(
    "select",
    [
        {"layer": 2},
        {"layer": [0, 3], "text": slice(10, 200, 7)},
        {"text": [250, 3, 3, 64]},
        {"text": 5, "hidden": slice(2, 5)},
        {"hidden": [7, 0], "layer": slice(1, 3)},
    ],
)
def test_every_kind_of_selection_equals_numpys(store: Store, select: dict[str, object]) -> None:
    array = store.dataset(MODEL)["mean_pool"].isel(checkpoint=1)
    expected = xr.DataArray(known_states(np.arange(300), spec()), dims=("layer", "text", "hidden"))
    np.testing.assert_array_equal(array.isel(select).values, expected.isel(select).values)


def test_a_selection_can_be_chunked_for_dask(store: Store) -> None:
    array = store.dataset(MODEL)["mean_pool"].sel(layer=1).chunk(text=128)
    expected = known_states(np.arange(300), spec())[1].astype(np.float64).mean(0)
    means = array.astype(np.float64).mean("text").compute(scheduler="synchronous")
    np.testing.assert_allclose(means.sel(checkpoint="main"), expected, rtol=1e-12)


def test_reading_a_shard_that_was_never_written_raises_instead_of_giving_nan(store: Store) -> None:
    array = store.dataset(MODEL)["last_pool"]
    assert np.isfinite(array.sel(checkpoint="main").values).all()
    with pytest.raises(MissingShardsError, match="step1"):
        array.sel(checkpoint="step1", layer=0).mean().compute()


def test_a_layer_only_another_checkpoint_has_is_missing_not_nan(store: Store) -> None:
    fill(store.begin_checkpoint(spec(checkpoint="step128", layers=(1, 2))))
    dataset = store.dataset(MODEL)
    assert dataset["layer"].values.tolist() == [0, 1, 2, 3]
    at = dataset["mean_pool"].sel(checkpoint="step128")
    np.testing.assert_array_equal(
        at.sel(layer=2).values, known_states(np.arange(300), spec(layers=(1, 2)))[1]
    )
    with pytest.raises(MissingShardsError, match="step128"):
        at.sel(layer=3).compute()


def test_texts_of_two_parts_are_one_axis_without_the_gap(store: Store) -> None:
    (row,) = store.add_texts(["later"])
    fill(store.begin_checkpoint(spec(checkpoint="main")), ("mean",))
    dataset = store.dataset(MODEL)
    assert dataset.sizes["text"] == 301
    assert int(dataset["row"][-1]) == row == 4096
    last = dataset["mean_pool"].sel(checkpoint="main", layer=1).isel(text=-1)
    np.testing.assert_array_equal(last.values, known_states(np.array([row]), spec())[1, 0])
