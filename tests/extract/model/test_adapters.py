"""PEFT adapters are checkpoints: merged, they run like the model they were trained as."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from actstore.errors import InvalidInputError, MissingDependencyError, UnknownNameError
from actstore.extract import ExtractionRequest
from actstore.extract.checkpoints.distinct import same_weights
from actstore.extract.checkpoints.fingerprint import weights_digest, weights_identity
from actstore.extract.checkpoints.sources import (
    Source,
    find_source,
    known_checkpoints,
    weight_files,
)
from actstore.extract.model.layers import run_layers
from actstore.extract.model.load import LoadSettings, load_model
from actstore.extract.outline import outline, provenance
from tests.support.hub import put_revision, use_cache

CPU = LoadSettings(device="cpu")
IDS = torch.arange(40).reshape(2, 20) + 7


def save_adapter(base: Path, folder: Path, auto: Any = AutoModelForCausalLM, seed: int = 0) -> Path:
    """A LoRA adapter with random weights, as PEFT saves it."""
    torch.manual_seed(seed)
    task = "CAUSAL_LM" if auto is AutoModelForCausalLM else "FEATURE_EXTRACTION"
    config = peft.LoraConfig(
        r=4, task_type=task, target_modules=["query_key_value"], init_lora_weights=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        peft.get_peft_model(auto.from_pretrained(base), config).save_pretrained(folder)
    return folder


@pytest.fixture
def base(tmp_path: Path, pythia_folder: Path) -> Path:
    """A base model in a folder of its own."""
    shutil.copytree(pythia_folder / "step0", tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return save_adapter(base, tmp_path / "tuned" / "step10")


def rewrite(adapter: Path, **settings: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


def layers_of(
    source: Source, *, lm_head: bool = False, pickled: bool = False
) -> list[torch.Tensor]:
    model = load_model(source, replace(CPU, pickled_weights=pickled), lm_head=lm_head)
    states: list[torch.Tensor] = []
    structure = model.structure
    layers = range(structure.n_blocks + 1)
    run_layers(structure, IDS, IDS > 0, layers, lambda _, h: states.append(h.clone()))
    return states


@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModel])
@pytest.mark.parametrize("lm_head", [True, False])
def test_states_are_those_of_the_peft_model(
    base: Path, tmp_path: Path, auto: Any, lm_head: bool
) -> None:
    folder = save_adapter(base, tmp_path / "one", auto)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = peft.PeftModel.from_pretrained(auto.from_pretrained(base), folder).eval()
    with torch.inference_mode():
        wanted = theirs(input_ids=IDS, output_hidden_states=True).hidden_states
    states = layers_of(find_source(str(folder), "main"), lm_head=lm_head)
    unchanged = layers_of(find_source(str(base), "main"))
    for layer in range(3):  # the last of theirs is normed
        torch.testing.assert_close(states[layer], wanted[layer], atol=1e-6, rtol=1e-5)
    assert (states[2] - unchanged[2]).abs().max() > 0.01


def test_adapters_in_a_folder_are_its_checkpoints(adapter: Path, base: Path) -> None:
    save_adapter(base, adapter.parent / "step20", seed=1)
    tuned = str(adapter.parent)
    assert known_checkpoints(tuned) == ["step10", "step20"]
    source = find_source(tuned, "step10")
    assert source.base == Source("base", "main", str(base), None)
    assert weight_files(source) == [
        adapter / "adapter_model.safetensors",
        base / "model.safetensors",
    ]
    assert same_weights([source, find_source(tuned, "step20")]) == []


def test_the_same_adapter_under_two_names_is_found(adapter: Path) -> None:
    shutil.copytree(adapter, adapter.parent / "step20")
    sources = [find_source(str(adapter.parent), name) for name in ("step10", "step20")]
    assert same_weights(sources) == [sources]


def test_the_head_and_the_outline_are_the_base_models(adapter: Path) -> None:
    one = outline(ExtractionRequest(str(adapter.parent)), "step10")
    assert (one.n_blocks, one.hidden_size, one.may_have_head) == (3, 32, True)
    model = load_model(one.source, CPU, lm_head=True)
    assert type(model.lm).__name__ == "GPTNeoXForCausalLM"
    assert not any("lora" in name for name, _ in model.structure.base.named_modules())
    told = provenance(model)
    assert (told["base_model"], told["base_commit"]) == ("base", None)


def test_the_digest_covers_the_adapter_its_settings_and_the_base(adapter: Path, base: Path) -> None:
    source = find_source(str(adapter.parent), "step10")
    first, identity = weights_digest(source), weights_identity(source)
    rewrite(adapter, inference_mode=False, peft_version="0")
    assert weights_digest(source) == first
    rewrite(adapter, lora_alpha=3)
    rescaled = weights_digest(source)
    assert weights_identity(source) != identity
    shutil.copy(base.parent / "base" / "model.safetensors", base.parent / "kept")
    model = AutoModelForCausalLM.from_pretrained(base)
    model.gpt_neox.embed_in.weight.data[0, 0] += 1
    model.save_pretrained(base)
    assert (
        len({first, rescaled, weights_digest(source), weights_digest(source.base or source)}) == 4
    )


def test_an_adapter_on_the_hub_names_its_base_there(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = put_revision(tmp_path / "hub", "org/base", base, "v1", also=["main"])
    rewrite(adapter, base_model_name_or_path="org/base", revision="v1")
    (adapter / "README.md").unlink()
    put_revision(tmp_path / "hub", "org/tuned", adapter, "step10")
    use_cache(monkeypatch, tmp_path / "hub")
    source = find_source("org/tuned", "step10")
    assert source.base == Source("org/base", "v1", "org/base", commit)
    one = outline(ExtractionRequest("org/tuned"), "step10")
    assert provenance(load_model(source, CPU, lm_head=False))["base_commit"] == commit
    assert one.tokenizer("a")["input_ids"]


def test_a_base_beside_the_adapter_is_found(adapter: Path) -> None:
    rewrite(adapter, base_model_name_or_path="../../base")
    source = find_source(str(adapter.parent), "step10")
    assert source.base is not None
    assert Path(source.base.name).resolve() == (adapter.parent.parent / "base").resolve()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"base_model_name_or_path": None}, InvalidInputError, "state base_model_name_or_path"),
        ({"base_model_name_or_path": "./none"}, UnknownNameError, "adapter of './none'. There is"),
        ({"base_model_name_or_path": "."}, InvalidInputError, "is an adapter itself: merge"),
    ],
)
def test_a_base_that_cannot_be_used_is_told(
    adapter: Path, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    rewrite(adapter, **settings)
    if settings["base_model_name_or_path"] == ".":
        rewrite(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(error, match=message):
        find_source(str(adapter.parent), "step10")


def test_an_adapter_made_for_another_model_is_refused(
    adapter: Path, base: Path, bert_folder: Path
) -> None:
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}), "utf-8")
    source = find_source(str(adapter.parent), "step10")
    with pytest.raises(InvalidInputError, match=r"does not fit .* 2 weights .*layers\.2\."):
        load_model(source, CPU, lm_head=False)
    rewrite(adapter, base_model_name_or_path=str(bert_folder))
    with pytest.raises(InvalidInputError, match="step10: PEFT says of Bert.*query_key_value"):
        load_model(find_source(str(adapter.parent), "step10"), CPU, lm_head=False)


def test_an_adapter_without_weights_to_merge_is_refused(base: Path, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        model.save_pretrained(tmp_path / "prompt")
    with pytest.raises(InvalidInputError, match="Cannot merge .* PROMPT_TUNING changes no"):
        load_model(find_source(str(tmp_path / "prompt"), "main"), CPU, lm_head=False)


def test_without_peft_it_is_told_what_to_install(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actstore.extract.model.extras.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'actstore\[peft\]'"):
        load_model(find_source(str(adapter.parent), "step10"), CPU, lm_head=False)


def test_an_adapters_own_tokenizer_comes_before_its_bases(adapter: Path, base: Path) -> None:
    request = ExtractionRequest(str(adapter.parent))
    assert (
        outline(request, "step10").tokenizer_digest
        == outline(ExtractionRequest(str(base)), "main").tokenizer_digest
    )
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<tuned>"])
    tokenizer.save_pretrained(adapter)
    assert len(outline(request, "step10").tokenizer("<tuned>")["input_ids"]) == 1


def test_a_pickled_adapter_is_read_only_when_asked_for(adapter: Path) -> None:
    source = find_source(str(adapter.parent), "step10")
    states = layers_of(source)
    tensors = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(tensors, adapter / "adapter_model.bin")
    with pytest.raises(InvalidInputError, match="--pickled-weights"):
        layers_of(source)
    for one, other in zip(layers_of(source, pickled=True), states, strict=True):
        assert torch.equal(one, other)
