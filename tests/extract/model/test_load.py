"""Loading weights: what is kept, in which dtype, and what is said of weights that are no use."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, GPTNeoXForCausalLM

from actstore.errors import InvalidInputError, ModelStructureError
from actstore.extract import ExtractionRequest
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.load import (
    LoadedModel,
    LoadSettings,
    load_config,
    load_model,
    may_have_head,
    resolve_dtype,
)
from actstore.extract.outline import outline
from actstore.extract.workers.lazy import LazyModel
from tests.support.tiny_models import CONFIGS, save_tiny_model

CPU = LoadSettings(device="cpu")


def load(folder: Path, settings: LoadSettings = CPU, *, lm_head: bool = False) -> LoadedModel:
    return load_model(find_source(str(folder), "main"), settings, lm_head=lm_head)


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(pythia_folder / "step0", tmp_path / "m")
    return tmp_path / "m"


def test_the_head_comes_with_the_same_base_model_and_only_when_asked_for(folder: Path) -> None:
    plain, headed = load(folder), load(folder, lm_head=True)
    assert plain.lm is None
    assert isinstance(headed.lm, GPTNeoXForCausalLM)
    assert headed.structure.base is headed.lm.gpt_neox
    for one, two in zip(
        plain.structure.base.parameters(), headed.structure.base.parameters(), strict=True
    ):
        assert torch.equal(one, two)


def test_a_masked_language_models_head_is_kept_too(tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_config(CONFIGS["bert"]()).save_pretrained(tmp_path)
    model = load(tmp_path, lm_head=True)
    assert type(model.lm).__name__ == "BertForMaskedLM"
    assert model.structure.final_norm is None


def test_an_encoder_decoder_gives_its_encoder_and_no_head(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "t5")
    model = load(tmp_path, lm_head=True)
    assert type(model.structure.base).__name__ == "T5Stack"
    assert model.lm is None
    assert not may_have_head(load_config(find_source(str(tmp_path), "main")))


def test_a_head_without_weights_is_none(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "gpt_neox", lm_head=False)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["architectures"] = ["GPTNeoXForCausalLM"]
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert load(tmp_path, lm_head=True).lm is None


def test_layers_without_weights_are_refused_and_not_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelStructureError, match=r"no weights for 1 .*layers\.1\.mlp"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"a" * 1000])
def test_weights_that_are_cut_short_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidInputError, match="Cannot use the weights of .* at main"):
        load(folder)


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "nonesuch"}'])
def test_a_config_of_no_known_model_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, "utf-8")
    with pytest.raises(InvalidInputError, match=r"Cannot use the config\.json of .* at main"):
        load(folder)


def test_an_unknown_attention_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="nonesuch"):
        load(folder, LoadSettings(device="cpu", attn="nonesuch"))


def test_the_computation_is_in_the_dtype_asked_for(folder: Path) -> None:
    model = load(folder, LoadSettings(device="cpu", compute_dtype="bfloat16"))
    assert {p.dtype for p in model.structure.base.parameters()} == {torch.bfloat16}


def test_auto_computes_in_float32_on_a_cpu_and_as_stored_on_a_gpu(folder: Path) -> None:
    GPTNeoXForCausalLM.from_pretrained(folder).half().save_pretrained(folder)
    config = load_config(find_source(str(folder), "main"))
    assert resolve_dtype("auto", config, torch.device("cpu")) is torch.float32
    assert resolve_dtype("auto", config, torch.device("cuda")) is torch.float16
    assert load(folder).dtype is torch.float32


@pytest.mark.parametrize("family", ["gpt_neox", "mamba"])
def test_a_released_model_leaves_memory_at_once(family: str, tmp_path: Path) -> None:
    save_tiny_model(tmp_path, family)
    one = outline(ExtractionRequest(str(tmp_path)), "main")
    model = LazyModel(one, CPU, lm_head=True)
    gc.disable()
    try:
        weight = weakref.ref(next(model.get().structure.base.parameters()))
        model.release()
        assert weight() is None
    finally:
        gc.enable()
