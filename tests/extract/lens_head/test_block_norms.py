"""The norms that blocks begin with, of tiny random models of many families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.extract.lens_head.find import find_head
from actstore.extract.model.blocks import find_structure
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_ops import LayerNorm, RmsNorm
from tests.support.families import FAMILIES, VOCABULARY, family_model

HEADED = [name for name, family in FAMILIES.items() if family.head is not None]
ELSEWHERE = {
    "olmo2 (norms after)",
    "opt-350m (projection, no norm)",
    "bert",
    "roberta (activation outside modules)",
    "distilbert",
    "albert (one block, many times)",
}
"""Families whose blocks normalise after attention, not before it."""
LAYERS = [0, 1, 2]
OTHER_IDS = np.random.default_rng(7).integers(2, VOCABULARY, (3, 11))


def found(lm: Any) -> LensHead:
    head = find_head(lm)
    assert head is not None
    return head


def blocks_take(lm: Any) -> list[Tensor]:
    """What each block takes, (text, token, hidden), of OTHER_IDS."""
    taken: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        taken.append((args[0] if args else kwargs["hidden_states"]).clone())

    blocks = find_structure(lm.base_model).blocks
    handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
    ids = torch.from_numpy(OTHER_IDS)
    with torch.no_grad():
        lm(input_ids=ids, attention_mask=torch.ones_like(ids))
    for handle in handles:
        handle.remove()
    return taken


def replayed(head: LensHead, layer: int, states: Tensor) -> NDArray[np.floating[Any]]:
    rows = states.flatten(0, 1).float().numpy()
    return head.block_norms[layer].apply(rows, head.arrays)


def module_of(lm: Any, head: LensHead, layer: int) -> nn.Module:
    norm = head.block_norms[layer]
    assert isinstance(norm, LayerNorm | RmsNorm)
    module: nn.Module = lm.get_submodule(norm.gain.removesuffix(".gain"))
    return module


@pytest.mark.parametrize("family", HEADED)
def test_each_layer_has_the_norm_that_the_next_block_applies_to_it(family: str) -> None:
    lm = family_model(family)
    head, taken = found(lm), blocks_take(lm)
    without = set(LAYERS) if family in ELSEWHERE else {0} if "modernbert" in family else set()
    assert set(head.block_norms) == set(LAYERS) - without
    for layer in head.block_norms:
        with torch.no_grad():
            expected = module_of(lm, head, layer)(taken[layer]).flatten(0, 1).numpy()
        np.testing.assert_allclose(replayed(head, layer, taken[layer]), expected, atol=2e-5)


@pytest.mark.parametrize("family", HEADED)
def test_a_bfloat16_model_has_the_same_block_norms(family: str) -> None:
    assert found(family_model(family, torch.bfloat16)).block_norms == (
        found(family_model(family)).block_norms
    )


@pytest.mark.parametrize(
    ("family", "path"),
    [
        ("gpt_neox", "gpt_neox.layers.1.input_layernorm"),
        ("phi (head bias)", "model.layers.1.input_layernorm"),
        ("gemma2 (soft cap)", "model.layers.1.input_layernorm"),
        ("falcon", "transformer.h.1.input_layernorm"),
        ("mpt", "transformer.blocks.1.norm_1"),
        ("modernbert (two norms)", "model.layers.1.attn_norm"),
        ("rwkv", "rwkv.blocks.1.ln1"),
    ],
)
def test_of_several_norms_it_is_the_one_that_feeds_attention(family: str, path: str) -> None:
    norm = found(family_model(family)).block_norms[1]
    assert isinstance(norm, LayerNorm | RmsNorm)
    assert norm.gain == f"{path}.gain"


def test_a_block_norms_gain_is_the_effective_one() -> None:
    lm = family_model("gemma (1 + w)")
    gain = 1 + lm.base_model.layers[2].input_layernorm.weight.detach()
    assert np.array_equal(found(lm).arrays["model.layers.2.input_layernorm.gain"], gain.numpy())


def test_a_norm_that_real_tokens_contradict_is_left_out() -> None:
    lm = family_model("llama")
    norm = lm.base_model.layers[1].input_layernorm

    class Norm(type(norm)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (x.shape[1] == OTHER_IDS.shape[1])

    norm.__class__ = Norm
    assert set(found(lm).block_norms) == {0, 1, 2}
    head = find_head(lm, OTHER_IDS)
    assert head is not None
    assert set(head.block_norms) == {0, 2}


def test_block_norms_do_not_change_the_heads_program() -> None:
    head = found(family_model("gpt_neox"))
    of_ops = {"gpt_neox.final_layer_norm.gain", "gpt_neox.final_layer_norm.bias"}
    assert of_ops < set(head.arrays)
    assert [op.kind for op in head.ops] == ["layer_norm", "linear"]
    assert len(head.arrays) == 3 + 2 * len(LAYERS)
