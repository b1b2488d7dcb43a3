"""`--dtype auto`: the stored dtype follows from the states of a few texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actstore.errors import StateRangeError
from actstore.extract import extract
from actstore.store import Store
from tests.support.extraction import request_of, shards, store_of_texts
from tests.support.tiny_models import save_tiny_model


def scaled_model(folder: Path, factor: float) -> Path:
    """A tiny Llama whose last block adds states so many times as large."""
    save_tiny_model(folder, "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("model.layers.2.mlp.down_proj.weight").mul_(factor)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("factor", "dtype"), [(1.0, "float16"), (1e8, "float32")])
def test_states_are_stored_in_the_smallest_dtype_that_holds_them(
    factor: float, dtype: str, store: Store, tmp_path: Path
) -> None:
    folder = scaled_model(tmp_path / "llama", factor)
    extract(store, request_of(folder, dtype="auto"))
    assert store.checkpoint(str(folder), "main").spec.dtype == dtype
    named = store_of_texts(tmp_path / "named.zarr")
    extract(named, request_of(folder, dtype=dtype))
    assert shards(store.path) == shards(named.path)
    vectors = store.embeddings(str(folder), checkpoint="main", layer=3)
    assert np.isfinite(vectors).all()


def test_a_checkpoint_keeps_the_dtype_it_was_begun_with(store: Store, tmp_path: Path) -> None:
    folder = scaled_model(tmp_path / "llama", 1.0)
    extract(store, request_of(folder, dtype="float32", rows=[0]))
    report = extract(store, request_of(folder, dtype="auto"))
    assert report.checkpoints[0].shards_written == 2
    assert store.checkpoint(str(folder), "main").spec.dtype == "float32"


def test_states_that_no_dtype_holds_are_refused_with_their_remedy(
    store: Store, tmp_path: Path
) -> None:
    folder = scaled_model(tmp_path / "llama", float("nan"))
    with pytest.raises(StateRangeError, match="down_proj.weight .*infinite or NaN"):
        extract(store, request_of(folder, dtype="auto"))
    assert store.models() == []
