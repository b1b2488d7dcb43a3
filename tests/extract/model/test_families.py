"""Every family's layers, against what its model returns by itself and what its source code says."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.blocks import ModelStructure, find_structure
from actstore.extract.model.layers import require_padding_to_be_ignored, run_layers
from actstore.extract.model.load import LoadSettings, load_model
from tests.support.families import (
    FAMILIES,
    HIDDEN,
    N_BLOCKS,
    VOCABULARY,
    base_of,
    family_model,
)

LAYERS = range(N_BLOCKS + 1)
N_TOKENS = 9
SHORT = 5
"""Tokens of the text that is padded to N_TOKENS."""

every_family = pytest.mark.parametrize("name", FAMILIES)


@functools.cache
def structure_of(name: str) -> ModelStructure:
    return find_structure(base_of(family_model(name)))


def some_ids(n_texts: int = 3) -> tuple[Tensor, Tensor]:
    """Ids and mask (text, token) of texts without padding."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(8, VOCABULARY, (n_texts, N_TOKENS), generator=generator)
    return ids, torch.ones_like(ids)


def layers_of(name: str, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Layers 0 to N_BLOCKS, as extraction takes them."""
    taken: list[Tensor] = []
    run_layers(
        structure_of(name), ids, mask.bool(), LAYERS, lambda _, h: taken.append(h.detach().clone())
    )
    assert len(taken) == len(LAYERS)
    return taken


def forward(name: str, ids: Tensor, mask: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
    """The hidden states that the model returns by itself; the last one is its output."""
    with torch.inference_mode():
        output = structure_of(name).base(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, **inputs
        )
    hidden: tuple[Tensor, ...] = output.hidden_states
    return hidden


@every_family
def test_blocks_and_norm_are_found_where_the_source_code_has_them(name: str) -> None:
    structure, family = structure_of(name), FAMILIES[name]
    assert (structure.blocks_path, structure.norm_path) == (family.blocks, family.norm)
    assert (structure.n_blocks, structure.hidden_size) == (N_BLOCKS, HIDDEN)


@every_family
def test_a_layer_is_what_the_model_itself_returns(name: str) -> None:
    family = FAMILIES[name]
    *raw, last = forward(name, *some_ids())
    layers = layers_of(name, *some_ids())
    assert len(raw) == N_BLOCKS
    for layer, states in enumerate(raw[: N_BLOCKS + 1 - family.first_entry], family.first_entry):
        assert torch.equal(layers[layer], states)
    path = family.norm or family.projection
    finish = structure_of(name).base.get_submodule(path) if path else nn.Identity()
    with torch.inference_mode():
        assert torch.equal(finish(layers[N_BLOCKS]), last)


@every_family
def test_a_layer_is_what_its_block_gives_and_layer_0_what_the_first_takes(name: str) -> None:
    blocks = structure_of(name).base.get_submodule(FAMILIES[name].blocks)
    seen: list[Tensor] = []

    def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not seen:
            seen.append((args or tuple(kwargs.values()))[0].clone())
        seen.append((output if torch.is_tensor(output) else output[0]).clone())

    handles = [block.register_forward_hook(take, with_kwargs=True) for block in blocks]
    forward(name, *some_ids())
    for handle in handles:
        handle.remove()
    layers = layers_of(name, *some_ids())
    assert len(seen) == len(layers)
    assert all(map(torch.equal, layers, seen))


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if family.first_entry])
def test_layer_0_is_the_embedding_where_hidden_states_lack_it(name: str) -> None:
    ids, mask = some_ids()
    with torch.inference_mode():
        embedding = structure_of(name).base.get_input_embeddings()(ids)
    assert torch.equal(layers_of(name, ids, mask)[0], embedding)


def test_rwkvs_states_are_not_halved_after_every_so_many_blocks(tmp_path: Path) -> None:
    lm = family_model("rwkv")
    lm.config.rescale_every = 2
    lm.save_pretrained(tmp_path / "rwkv")
    source = find_source(str(tmp_path / "rwkv"), "main")
    loaded = load_model(source, LoadSettings(device="cpu"), lm_head=False)
    assert loaded.structure.base.config.rescale_every == 0
    ids, mask = some_ids()
    taken: list[Tensor] = []
    run_layers(loaded.structure, ids, mask, LAYERS, lambda _, h: taken.append(h.clone()))
    for states, expected in zip(taken, layers_of("rwkv", ids, mask), strict=True):
        torch.testing.assert_close(states, expected)


@every_family
def test_padding_on_the_right_leaves_a_texts_states_as_they_are(name: str) -> None:
    require_padding_to_be_ignored(structure_of(name))
    ids, mask = some_ids()
    alone = layers_of(name, ids[:1, :SHORT], mask[:1, :SHORT])
    ids[0, SHORT:], mask[0, SHORT:] = 0, 0
    for states, padded in zip(alone, layers_of(name, ids, mask), strict=True):
        torch.testing.assert_close(padded[0, :SHORT], states[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if family.left_padding])
def test_padding_on_the_left_leaves_them_too_once_positions_are_given(name: str) -> None:
    family = FAMILIES[name]
    ids, mask = some_ids()
    alone = layers_of(name, ids[:1, :SHORT], mask[:1, :SHORT])
    n_padding = N_TOKENS - SHORT
    ids[0] = ids[0].roll(n_padding)
    ids[0, :n_padding], mask[0, :n_padding] = 0, 0
    *raw, _ = forward(name, ids, mask, **positions(name, mask))
    for layer, states in enumerate(raw, family.first_entry):
        ours = alone[layer][0]
        torch.testing.assert_close(states[0, n_padding:], ours, rtol=1e-4, atol=1e-5)


def positions(name: str, mask: Tensor) -> dict[str, Tensor]:
    """Position ids that count real tokens, where the model takes any."""
    if "position_ids" not in inspect.signature(structure_of(name).base.forward).parameters:
        return {}
    counted = mask.cumsum(dim=1) - 1
    return {"position_ids": counted.clamp(min=0) + FAMILIES[name].first_position}
