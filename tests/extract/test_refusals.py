"""Extractions that are refused: before anything is written, or before a shard is committed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
)

from actstore.errors import (
    InvalidInputError,
    PlanMismatchError,
    StateRangeError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.extract import TokenSampleRequest, extract
from actstore.store import Store, create_store
from tests.support.extraction import request_of, snapshot
from tests.support.tiny_models import save_tiny_model


def test_a_shard_with_states_beyond_its_dtype_is_not_committed(
    store: Store, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "m", "llama")
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("layers.2.mlp.down_proj.weight").mul_(1e8)
    model.save_pretrained(folder)
    with pytest.raises(StateRangeError, match="layer 3") as caught:
        extract(store, request_of(folder))
    assert "while extracting the shard 0:64" in caught.value.__notes__[0]
    assert store.checkpoint(str(folder), "main").committed("mean") == set()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"checkpoints": ("step1",)}, UnknownNameError, r"'step1'.*'step16'"),
        ({"poolings": ("men",)}, UnknownNameError, r"pooling 'men'.*'mean'"),
        ({"layers": "9"}, UnknownNameError, r"no layer 9: .*0 .*3"),
        ({"layers": "first"}, InvalidInputError, r"'first'"),
        ({"rows": [3, 99999]}, UnknownTextError, r"1 of the 2 rows .*\[99999\]"),
        ({"dtype": "bfloat16"}, InvalidInputError, r"--dtype float16, float32 or auto"),
        ({"compute_dtype": "int8"}, InvalidInputError, r"'int8'"),
        ({"devices": "cuda:99"}, InvalidInputError, r"device 'cuda:99'.*--devices cpu"),
        ({"max_tokens": 65}, InvalidInputError, r"at most 64"),
        ({"token_sample": TokenSampleRequest("s", [])}, InvalidInputError, r"'s' has no texts"),
        ({"token_sample": TokenSampleRequest("s", [999])}, UnknownTextError, r"999"),
        ({"checkpoints": ()}, InvalidInputError, r"at least one checkpoint"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_anything_is_written(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    store: Store,
    pythia_folder: Path,
) -> None:
    before = snapshot(store.path)
    with pytest.raises(error, match=message):
        extract(store, request_of(pythia_folder, **{"checkpoints": ("step0",), **changes}))
    assert snapshot(store.path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float32"}, "dtype: the store has 'float16', asked is 'float32'"),
        ({"max_tokens": 32}, "max_tokens: the store has 64, asked is 32"),
        ({"layers": "0-2"}, r"layers: the store has \[0, 1, 2, 3\], asked is \[0, 1, 2\]"),
    ],
)
def test_another_plan_for_the_same_arrays_is_refused(
    changes: dict[str, Any], message: str, store: Store, pythia_folder: Path
) -> None:
    extract(store, request_of(pythia_folder, checkpoints=("step0",)))
    with pytest.raises(PlanMismatchError, match=message):
        extract(store, request_of(pythia_folder, checkpoints=("step0",), **changes))


def test_weights_that_changed_under_the_same_name_are_refused(
    store: Store, pythia_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(pythia_folder / "step0", folder)
    extract(store, request_of(folder))
    shutil.copy(pythia_folder / "step16" / "model.safetensors", folder)
    with pytest.raises(PlanMismatchError, match="weights_digest"):
        extract(store, request_of(folder))


def test_a_tokenizer_of_another_model_is_refused(store: Store, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "m", "gpt_neox")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["layer"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InvalidInputError, match=r"id 300 \('layer'\), the model has 300"):
        extract(store, request_of(folder))


def test_a_store_without_texts_says_how_to_collect_them(
    tmp_path: Path, pythia_folder: Path
) -> None:
    with pytest.raises(InvalidInputError, match="actstore collect"):
        extract(create_store(tmp_path / "empty.zarr"), request_of(pythia_folder / "step0"))


def test_weights_of_a_stored_checkpoint_under_another_name_are_refused_unless_allowed(
    store: Store, pythia_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mislabelled"
    for name in ("step0", "step16"):
        shutil.copytree(pythia_folder / "step0", folder / name)
    shutil.copytree(pythia_folder / "step64", folder / "step64")
    both = request_of(folder, checkpoints=("step0", "step16"))
    with pytest.raises(InvalidInputError, match=r"step0 and step16.*issues/205.*--same-weights"):
        extract(store, both)
    assert store.models() == []
    extract(store, request_of(folder, checkpoints=("step0",)))
    with pytest.raises(InvalidInputError, match=r"step0 and step16"):
        extract(store, request_of(folder, checkpoints=("step16",)))  # found when its turn comes
    assert store.checkpoints(str(folder)) == ["step0"]
    extract(store, request_of(folder, checkpoints=("step16",), same_weights=True))
    assert store.checkpoints(str(folder)) == ["step0", "step16"]
