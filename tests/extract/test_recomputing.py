"""`verify --deep`: stored states against what the model gives now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from actstore.errors import InvalidInputError
from actstore.extract import extract, recompute
from actstore.extract.recomputing import TOLERANCE
from actstore.store import Store
from actstore.store.records.runs import RunLog
from actstore.store.verify.remedies import Past
from tests.support.extraction import request_of, snapshot

ARRAYS = {"mean_pool", "curvature", "prompt_entropy"}


@pytest.fixture
def model(store: Store, pythia_folder: Path) -> str:
    """The folder of a model of which the store holds one checkpoint."""
    request = request_of(
        pythia_folder, checkpoints=("step0",), poolings=("mean",), token_metrics=True, threads=1
    )
    extract(store, request)
    return request.model


@pytest.mark.usefixtures("model")
def test_shards_extracted_again_as_the_run_log_says_agree_to_the_last_bit(store: Store) -> None:
    before = snapshot(store.path)
    found = recompute(store, "100%", seed=0)
    assert {(one.array, one.rows) for one in found} == {
        (array, rows) for array in ARRAYS for rows in ((0, 64), (64, 128), (128, 192))
    }
    assert all(one.identical and one.difference == 0 for one in found)
    assert snapshot(store.path) == before


def test_a_later_run_that_is_no_extraction_does_not_say_where_the_model_is(
    store: Store, model: str
) -> None:
    named = store.only_model()
    assert named != model  # a folder's path
    RunLog(store.storage, command=["actstore", "eval"], settings={"model": named, "suite": "x"})
    assert all(one.identical for one in recompute(store, "1", seed=0))
    assert Past(store.storage).model(named) == model


def test_other_batches_differ_by_rounding_and_that_is_said(store: Store, model: str) -> None:
    request = request_of(
        model, checkpoints=("step16",), poolings=("mean",), dtype="float32", batch_tokens=8000
    )
    extract(store, request)
    extract(store, request_of(model, checkpoints=("step0",), poolings=("mean",), batch_tokens=64))
    found = recompute(store, "100%", seed=0, model=model, checkpoints=("step16",))
    assert all(one.agrees for one in found)
    assert 0 < max(one.difference for one in found) < TOLERANCE


def test_a_sample_is_the_same_for_a_seed(store: Store, model: str) -> None:
    first, again = (recompute(store, "1", seed=3, model=model) for _ in range(2))
    assert first == again
    assert len({one.rows for one in first}) == 1


@pytest.mark.parametrize("size", ["0", "-3", "many", "0%"])
def test_a_size_that_cannot_be_read_is_refused(store: Store, model: str, size: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--deep .*Write 20"):
        recompute(store, size, seed=0, model=model)


def test_states_of_other_weights_do_not_agree(
    store: Store, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actstore.extract.workers import lazy

    load = lazy.load_model

    def altered(*args: object, **options: object) -> object:
        loaded = load(*args, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            for weights in loaded.structure.base.parameters():
                weights.mul_(-1.5)
        return loaded

    monkeypatch.setattr(lazy, "load_model", altered)
    found = recompute(store, "1", seed=0, model=model)
    pooled = [one for one in found if one.array == "mean_pool"]
    assert not any(one.agrees for one in pooled)
    assert np.isfinite([one.difference for one in pooled]).all()
