"""The lens head of tiny random models of many families, against the models' own logits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.errors import HeadReplayError, ModelStructureError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.lens_head.find import find_head, replay_tokens, verify_head
from actstore.extract.lens_head.steps import elementwise, stored_array
from actstore.extract.model.blocks import find_structure
from actstore.extract.model.load import LoadSettings, load_model
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_ops import Scale, Softcap
from tests.support.families import FAMILIES, VOCABULARY, family_model

HEADED = [name for name, family in FAMILIES.items() if family.head is not None]


OTHER_IDS = np.random.default_rng(7).integers(2, VOCABULARY, (3, 11))
"""Not what a head is found on: (text, token)."""
ON_DISK = {f"gpt_neox.{name}": "cpu" for name in ("embed_in", "rotary_emb", "layers")}
ON_DISK |= {"gpt_neox.final_layer_norm": "disk", "lm_head": "disk"}


def states_and_logits(lm: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(token, hidden) as the last block gives them, and (token, vocabulary), of OTHER_IDS."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Any) -> None:
        kept.append((output if torch.is_tensor(output) else output[0]).detach().clone())

    handle = find_structure(lm.base_model).blocks[-1].register_forward_hook(keep)
    ids = torch.from_numpy(OTHER_IDS)
    with torch.no_grad():
        logits = lm(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    handle.remove()
    return kept[-1].flatten(0, 1).float().numpy(), logits.flatten(0, 1).float().numpy()


def found(lm: Any) -> LensHead:
    head = find_head(lm)
    assert head is not None
    return head


@pytest.mark.parametrize("family", HEADED)
def test_the_head_gives_the_models_logits(family: str) -> None:
    lm = family_model(family)
    head = found(lm)
    assert tuple(op.kind for op in head.ops) == FAMILIES[family].head
    states, logits = states_and_logits(lm)
    assert np.ptp(logits) > 0.1
    assert np.abs(head.logits(states) - logits).max() < 1e-4
    assert head.max_abs_error < 1e-4


@pytest.mark.parametrize("family", HEADED)
def test_a_bfloat16_model_has_the_same_program(family: str) -> None:
    head = found(family_model(family, torch.bfloat16))
    assert head.ops == found(family_model(family)).ops
    assert head.compute_dtype == "bfloat16"


@pytest.mark.parametrize("family", ["gpt_neox", "gemma2 (soft cap)", "granite (logits scaling)"])
def test_a_float16_model_has_the_same_program(family: str) -> None:
    assert found(family_model(family, torch.float16)).ops == found(family_model(family)).ops


def test_the_error_is_that_of_a_replay_on_the_tokens_given() -> None:
    lm = family_model("gpt_neox")
    states, logits = states_and_logits(lm)
    head = find_head(lm, OTHER_IDS)
    assert head is not None
    assert head.max_abs_error == np.abs(head.logits(states) - logits).max()


def test_a_step_that_only_real_tokens_show_is_missed_on_them() -> None:
    lm = family_model("llama")
    real = torch.from_numpy(OTHER_IDS[:1])

    class Head(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (x.shape[1] == real.shape[1])

    lm.lm_head.__class__ = Head
    assert found(lm).max_abs_error < 1e-4
    with pytest.raises(HeadReplayError, match=r"by up to 1;"):
        find_head(lm, real.numpy())


def test_the_longest_texts_are_replayed_cut_to_one_length() -> None:
    texts = [np.arange(n, dtype=np.int32) for n in (3, 0, 9, 5, 7)]
    np.testing.assert_array_equal(replay_tokens(texts, n_texts=2), [range(7), range(7)])
    np.testing.assert_array_equal(replay_tokens(texts, n_texts=3, n_tokens=4), [range(4)] * 3)
    assert replay_tokens(texts[1:2]) is None


@pytest.mark.parametrize("computed_in", [torch.float32, torch.float16])
def test_weights_published_in_float16_are_kept_in_it_whatever_they_are_computed_in(
    computed_in: torch.dtype,
) -> None:
    lm = family_model("gpt_neox", torch.float16).to(computed_in)
    weight = lm.get_output_embeddings().weight.detach().numpy()
    head = found(lm)
    assert {array.dtype for array in head.arrays.values()} == {np.dtype("float16")}
    assert np.array_equal(head.unembedding, weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_weights_that_float16_does_not_hold_are_kept_in_float32(dtype: torch.dtype) -> None:
    lm = family_model("gpt_neox", dtype)
    weight = lm.get_output_embeddings().weight.detach()
    weight[7, 3] = 1e-9
    assert found(lm).unembedding.dtype == np.float32
    assert np.array_equal(found(lm).unembedding, weight.float().numpy())


def test_arrays_are_kept_exactly_each_in_its_own_dtype() -> None:
    exact = torch.tensor([0.0, -0.0, 6e-8, 65504.0, torch.inf, 0.125])
    exact[2] = 2.0**-24  # the smallest that float16 has
    for values, dtype in ((exact, np.float16), (exact + 1e-3, np.float32)):
        assert stored_array(values).dtype == dtype
        np.testing.assert_array_equal(stored_array(values), values.numpy())
    assert stored_array(torch.tensor([65520.0])).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_head_whose_weights_wait_on_a_disk_is_the_same(pythia_folder: Path, dtype: str) -> None:
    def head_of(device_map: str | None) -> LensHead:
        settings = LoadSettings(device="cpu", compute_dtype=dtype, device_map=device_map)
        source = find_source(str(pythia_folder), "step0")
        return found(load_model(source, settings, lm_head=True).lm)

    plain, offloaded = head_of(None), head_of(json.dumps(ON_DISK))
    assert (offloaded.ops, offloaded.max_abs_error) == (plain.ops, plain.max_abs_error)
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(offloaded.arrays[name], array)


def test_the_gain_is_the_effective_one() -> None:
    lm = family_model("gemma2 (soft cap)")
    head = found(lm)
    gain = 1 + lm.base_model.norm.weight.detach()
    assert np.array_equal(head.arrays["model.norm.gain"], gain.numpy())


def test_norm_is_what_the_models_final_norm_gives() -> None:
    lm = family_model("gpt_neox")
    states, _ = states_and_logits(lm)
    with torch.no_grad():
        expected = lm.base_model.final_layer_norm(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(found(lm).norm(states), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "gemma (1 + w)", "bert"])
def test_a_head_tied_to_the_embeddings_has_its_unembedding_once(family: str) -> None:
    lm = family_model(family)
    assert lm.get_output_embeddings().weight is lm.get_input_embeddings().weight
    unembeddings = [a for a in found(lm).arrays.values() if a.shape[0] == VOCABULARY and a.ndim > 1]
    assert len(unembeddings) == 1


def test_the_head_does_not_follow_the_model_when_its_weights_change() -> None:
    lm = family_model("llama")
    head = found(lm)
    before = head.unembedding.copy()
    lm.get_output_embeddings().weight.data.zero_()
    np.testing.assert_array_equal(head.unembedding, before)


def test_a_head_with_a_tampered_weight_is_refused_and_told_by_how_much() -> None:
    lm = family_model("gpt_neox")
    head = found(lm)
    tampered = {name: array.copy() for name, array in head.arrays.items()}
    tampered["gpt_neox.final_layer_norm.gain"][3] += 0.1
    with pytest.raises(HeadReplayError, match=r"differ from the model's by up to 0\.\d+"):
        verify_head(lm, replace(head, arrays=tampered))
    assert verify_head(lm, head).max_abs_error == head.max_abs_error


def test_a_head_without_its_soft_cap_is_refused() -> None:
    lm = family_model("gemma2 (soft cap)")
    head = found(lm)
    with pytest.raises(HeadReplayError, match="rms_norm → linear"):
        verify_head(lm, replace(head, ops=head.ops[:-1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_soft_cap_is_told_from_the_rounding_of_many_small_logits(dtype: torch.dtype) -> None:
    numbers = [1e-6, 8.0, 30.0, 50.0, 4096.0, 256000.0]
    logits = torch.randn(14, 30_000, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[:, 3] = 9.0
    assert elementwise(logits, (logits / 30).tanh() * 30, numbers) == Softcap(30.0)


def test_a_scale_is_the_configs_number_where_16_bits_blur_it() -> None:
    logits = torch.randn(18, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert elementwise(logits, logits / 13.0, [64.0, 13.0]) == Scale(1 / 13)
    assert elementwise(logits, logits * 0.37, [0.37, 13.0]) == Scale(0.37)
    assert elementwise(logits, logits.sort(dim=-1).values, [13.0]) is None


class _Sorted(nn.Module):
    """No op of ours: it moves numbers within a row."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=-1).values


def test_a_step_of_no_known_kind_is_named() -> None:
    lm = family_model("llama")
    lm.lm_head = nn.Sequential(_Sorted(), lm.lm_head)
    with pytest.raises(ModelStructureError, match=r"what lm_head\.0 \(_Sorted\) does"):
        find_head(lm)


def test_a_model_in_training_mode_is_read_without_dropout_and_left_in_it() -> None:
    lm = family_model("gpt2").train()
    assert found(lm).max_abs_error < 1e-4
    assert lm.training


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in HEADED])
def test_a_model_without_a_language_model_head_has_none(family: str) -> None:
    assert find_head(family_model(family)) is None


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_has_none_as_its_encoder_reads_out_no_tokens(family: str) -> None:
    lm = transformers.AutoModelForSeq2SeqLM.from_config(FAMILIES[family].config())
    assert find_head(lm) is None


def test_a_bias_added_outside_modules_is_refused_with_the_last_module_that_is_understood() -> None:
    lm = transformers.AutoModelForMaskedLM.from_config(
        transformers.EsmConfig(**FAMILIES["bert"].config().to_dict() | {"mask_token_id": 3})
    )
    lm.lm_head.bias.data += 1.0
    with pytest.raises(ModelStructureError, match=r"after .*lm_head\.decoder, which no module"):
        find_head(lm.eval())
