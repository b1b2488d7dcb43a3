"""Models larger than one device: where their parts go, and that the states stay the same."""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path

import pytest
import torch

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.layers import run_layers
from actstore.extract.model.load import LoadedModel, LoadSettings, load_model
from actstore.extract.model.placement import parse_device_map

ON_DISK = {
    "gpt_neox.embed_in": "cpu",
    "gpt_neox.rotary_emb": "cpu",
    "gpt_neox.layers.0": "cpu",
    "gpt_neox.layers.1": "disk",
    "gpt_neox.layers.2": "disk",
    "gpt_neox.final_layer_norm": "cpu",
    "lm_head": "disk",
}
IDS = torch.arange(40).reshape(2, 20) + 7


def load(folder: Path, device_map: str | None = None, dtype: str = "float32") -> LoadedModel:
    settings = LoadSettings(device="cpu", compute_dtype=dtype, device_map=device_map)
    return load_model(find_source(str(folder), "step0"), settings, lm_head=False)


def layers_of(model: LoadedModel) -> list[torch.Tensor]:
    states: list[torch.Tensor] = []
    layers = range(model.structure.n_blocks + 1)
    run_layers(model.structure, IDS, IDS > 0, layers, lambda _, h: states.append(h.clone()))
    return states


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_blocks_on_disk_give_the_same_states(pythia_folder: Path, dtype: str) -> None:
    model = load(pythia_folder, json.dumps(ON_DISK), dtype)
    assert {p.device.type for p in model.structure.blocks[1].parameters()} == {"meta"}
    assert model.device == torch.device("cpu")
    plain = load(pythia_folder, dtype=dtype)
    for _ in range(2):  # what a forward brought in left memory again
        for one, other in zip(layers_of(model), layers_of(plain), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("strategy", ["auto", "balanced", "balanced_low_0", "sequential"])
def test_strategies_give_the_same_states(pythia_folder: Path, strategy: str) -> None:
    if torch.accelerator.is_available():
        pytest.skip("would place the model on it")
    model = load(pythia_folder, strategy)
    for one, other in zip(layers_of(model), layers_of(load(pythia_folder)), strict=True):
        assert torch.equal(one, other)


def test_a_map_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps(ON_DISK), "utf-8")
    assert parse_device_map(str(tmp_path / "map.json")) == ON_DISK


def test_what_was_put_on_disk_goes_with_the_model(
    pythia_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = load(pythia_folder, json.dumps(ON_DISK))
    assert list(tmp_path.glob("actstore-offloaded-*"))
    del model
    gc.collect()
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidInputError):
        load(pythia_folder, '{"gpt_neox": "nowhere"}')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", ["", "best", "{", "[]", "{}", "3", "none.json"])
def test_a_map_that_cannot_be_read_is_refused(written: str) -> None:
    with pytest.raises(InvalidInputError, match="Cannot read the device map .*Write auto, bal"):
        parse_device_map(written)


def test_a_map_that_leaves_a_module_out_is_refused(pythia_folder: Path) -> None:
    without = {name: place for name, place in ON_DISK.items() if name != "gpt_neox.layers.1"}
    with pytest.raises(InvalidInputError, match=r"weights of .* at step0: .*layers\.1"):
        load(pythia_folder, json.dumps(without))


def test_without_accelerate_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actstore.extract.model.extras.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"accelerate.*'actstore\[extract\]'"):
        parse_device_map("auto")


@pytest.mark.gpu
def test_blocks_on_a_gpu_and_on_the_cpu_give_the_same_states(pythia_folder: Path) -> None:
    spread = {name: 0 if place == "disk" else "cpu" for name, place in ON_DISK.items()}
    model = load(pythia_folder, json.dumps(spread))
    states = layers_of(model)
    assert {h.device.type for h in states} == {"cpu", "cuda"}
    for one, other in zip(states, layers_of(load(pythia_folder)), strict=True):
        torch.testing.assert_close(one.cpu(), other, atol=1e-5, rtol=1e-4)
