"""Which models need masks and which can run packed texts: found out on real ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actstore.extract.model.blocks import ModelStructure, find_structure
from actstore.extract.model.layouts import find_packing, masks_needed
from actstore.extract.model.learnt import Masks, Packing
from tests.support.tiny_models import CAUSAL, CONFIGS, tiny_model
from tests.support.varlen_attention import NAME, register_varlen_attention

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def structure_of(family: str, dtype: torch.dtype = torch.float32) -> ModelStructure:
    model: Any = tiny_model(family).to(dtype)
    base = model.get_encoder() if model.config.is_encoder_decoder else model
    base.config.use_cache = False
    return find_structure(base)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", CONFIGS)
def test_causal_models_need_no_mask_and_encoders_only_where_they_are_padded(
    family: str, dtype: torch.dtype
) -> None:
    expected = Masks.NEVER if family in CAUSAL else Masks.PADDED
    assert masks_needed(structure_of(family, dtype)) is expected


class _Leak(nn.Module):
    """A block whose output takes a little of the last token of the row."""

    def __init__(self, block: nn.Module, share: float) -> None:
        super().__init__()
        self.block, self.share = block, share

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        output = self.block(hidden, *args, **kwargs)
        states = output[0] if isinstance(output, tuple) else output
        return states + self.share * states[:, -1:]


@pytest.mark.parametrize("share", [1.0, 1e-2, 1e-4])
def test_a_model_that_looks_ahead_a_little_is_told_from_a_causal_one(share: float) -> None:
    model: Any = tiny_model("gpt_neox")
    model.layers[1] = _Leak(model.layers[1], share)
    assert masks_needed(find_structure(model)) is not Masks.NEVER


def test_a_model_that_masks_padding_ids_by_itself_always_gets_a_mask() -> None:
    model: Any = tiny_model("bert")
    forward = model.forward

    def masking(input_ids: Tensor, attention_mask: Tensor | None = None, **inputs: Any) -> Any:
        if attention_mask is None:
            attention_mask = (input_ids != model.config.pad_token_id).long()
        return forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)

    model.forward = masking
    assert masks_needed(find_structure(model)) is Masks.ALWAYS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["gpt_neox", "llama", "gpt2", "gemma2"])
def test_texts_are_packed_where_position_ids_keep_them_apart(
    family: str, dtype: torch.dtype
) -> None:
    assert find_packing(structure_of(family, dtype)) == Packing(first_position=0)


@pytest.mark.parametrize("family", ["mamba", "bert", "t5", "opt", "roberta"])
def test_texts_are_not_packed_where_they_would_mix(family: str) -> None:
    assert find_packing(structure_of(family)) is None


@pytest.mark.parametrize(
    ("family", "first"), [("llama", 0), ("gpt_neox", 0), ("bert", 0), ("roberta", 2)]
)
def test_flash_attention_packs_encoders_too_from_their_own_first_position(
    family: str, first: int
) -> None:
    register_varlen_attention()
    structure = structure_of(family)
    structure.base.set_attn_implementation(NAME)  # type: ignore[operator]
    assert find_packing(structure) == Packing(first_position=first)


def test_a_model_without_room_for_a_long_row_is_not_packed() -> None:
    model: Any = tiny_model("gpt_neox")
    forward = model.forward

    def short(input_ids: Tensor, **inputs: Any) -> Any:
        if input_ids.shape[1] > 64:
            raise RuntimeError("The size of tensor a (64) must match the size of tensor b")
        return forward(input_ids=input_ids, **inputs)

    model.forward = short
    assert find_packing(find_structure(model)) is None
