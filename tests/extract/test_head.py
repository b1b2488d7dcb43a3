"""The lens head of tiny random models of many families, against the models' own logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.errors import HeadReplayError, ModelStructureError
from actstore.extract.blocks import find_structure
from actstore.extract.head import find_head, verify_head
from actstore.extract.head_ops import elementwise
from actstore.store.head import LensHead
from actstore.store.head_ops import Scale, Softcap
from tests.support.tiny_models import CONFIGS, HIDDEN, N_BLOCKS, VOCABULARY, tiny_model

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
GPT_SIZES = {"vocab_size": VOCABULARY, "n_embd": HIDDEN, "n_layer": N_BLOCKS, "n_head": 4}
OPT_350M = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "ffn_dim": 64,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": 16,
    "do_layer_norm_before": False,
}
FALCON_H1 = {
    "num_key_value_heads": 2,
    "mamba_d_ssm": 32,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
}
NORM_THEN_LINEAR = ["rms_norm", "linear"]
BERT_HEAD = ["linear", "activation", "layer_norm", "linear"]


def _config(name: str, **options: Any) -> Callable[[], transformers.PretrainedConfig]:
    return lambda: getattr(transformers, f"{name}Config")(**{**SIZES, **options})


def _gpt(name: str, **options: Any) -> Callable[[], transformers.PretrainedConfig]:
    return lambda: getattr(transformers, f"{name}Config")(
        **GPT_SIZES, n_positions=64, bos_token_id=1, eos_token_id=1, **options
    )


FAMILIES: dict[str, tuple[Callable[[], transformers.PretrainedConfig], list[str]]] = {
    "gpt_neox": (CONFIGS["gpt_neox"], ["layer_norm", "linear"]),
    "llama": (CONFIGS["llama"], NORM_THEN_LINEAR),
    "gemma2 (soft cap)": (
        _config("Gemma2", head_dim=8, num_key_value_heads=2, final_logit_softcapping=3.0),
        ["rms_norm", "linear", "softcap"],
    ),
    "nanochat (no gain)": (
        _config("NanoChat", num_key_value_heads=2, final_logit_softcapping=3.0),
        ["rms_norm", "linear", "softcap"],
    ),
    "gpt2 (tied)": (CONFIGS["gpt2"], ["layer_norm", "linear"]),
    "cohere (logit scale)": (
        _config("Cohere", num_key_value_heads=2, logit_scale=0.0625),
        ["layer_norm", "linear", "scale"],
    ),
    "granite (logits scaling)": (
        _config("Granite", num_key_value_heads=2, logits_scaling=8.0),
        ["rms_norm", "linear", "scale"],
    ),
    "nemotron (1 + w)": (
        _config("Nemotron", num_key_value_heads=2, head_dim=8),
        ["layer_norm", "linear"],
    ),
    "olmo (no parameters)": (_config("Olmo", num_key_value_heads=2), ["layer_norm", "linear"]),
    "phi (head bias)": (_config("Phi"), ["layer_norm", "linear"]),
    "gptj (head bias)": (_gpt("GPTJ", rotary_dim=4), ["layer_norm", "linear"]),
    "opt": (CONFIGS["opt"], ["layer_norm", "linear"]),
    "opt-350m (projection, no norm)": (
        lambda: transformers.OPTConfig(**OPT_350M),
        ["linear", "linear"],
    ),
    "mamba": (CONFIGS["mamba"], NORM_THEN_LINEAR),
    "falcon_h1 (multiplier)": (
        _config("FalconH1", **FALCON_H1, lm_head_multiplier=0.25),
        ["rms_norm", "linear", "scale"],
    ),
}
MASKED: dict[str, tuple[Callable[[], transformers.PretrainedConfig], list[str]]] = {
    "bert": (CONFIGS["bert"], BERT_HEAD),
    "roberta (activation outside modules)": (CONFIGS["roberta"], BERT_HEAD),
    "albert (one block, many times)": (CONFIGS["albert"], BERT_HEAD),
    "modernbert (two norms)": (
        _config("ModernBert", cls_token_id=1, sep_token_id=2, global_attn_every_n_layers=2),
        ["layer_norm", *BERT_HEAD],
    ),
}
ALL = {**FAMILIES, **MASKED}


def a_model(family: str) -> Any:
    """A random model with its head, whose gains and biases are random too."""
    torch.manual_seed(0)
    masked = family in MASKED
    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = auto.from_config(ALL[family][0](), dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data += (0.2 if parameter.ndim == 1 else 0.05) * torch.randn_like(parameter)
    return model


def states_and_logits(lm: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(token, hidden) as the last block gives them, and (token, vocabulary), of other tokens than
    the head was found on."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Any) -> None:
        kept.append((output if torch.is_tensor(output) else output[0]).detach().clone())

    handle = find_structure(lm.base_model).blocks[-1].register_forward_hook(keep)
    ids = torch.randint(2, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = lm(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    handle.remove()
    return kept[-1].flatten(0, 1).float().numpy(), logits.flatten(0, 1).float().numpy()


def found(lm: Any) -> LensHead:
    head = find_head(lm)
    assert head is not None
    return head


@pytest.mark.parametrize("family", ALL)
def test_the_head_gives_the_models_logits(family: str) -> None:
    lm = a_model(family)
    head = found(lm)
    assert [op.kind for op in head.ops] == ALL[family][1]
    states, logits = states_and_logits(lm)
    assert np.ptp(logits) > 0.1
    assert np.abs(head.logits(states) - logits).max() < 1e-4
    assert head.max_abs_error < 1e-4


@pytest.mark.parametrize("family", ["gpt_neox", "gemma2 (soft cap)", "granite (logits scaling)"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_model_has_the_same_program(family: str, dtype: torch.dtype) -> None:
    lm = a_model(family)
    assert found(lm.to(dtype)).ops == found(a_model(family)).ops


def test_bfloat16_weights_are_widened_exactly_and_float16_ones_kept() -> None:
    lm = a_model("gpt_neox").to(torch.bfloat16)
    weight = lm.get_output_embeddings().weight
    assert np.array_equal(found(lm).unembedding, weight.detach().float().numpy())
    assert found(lm.to(torch.float16)).unembedding.dtype == np.float16


def test_the_gain_is_the_effective_one() -> None:
    lm = a_model("gemma2 (soft cap)")
    head = found(lm)
    gain = 1 + lm.base_model.norm.weight.detach()
    assert np.array_equal(head.arrays["model.norm.gain"], gain.numpy())


def test_norm_is_what_the_models_final_norm_gives() -> None:
    lm = a_model("gpt_neox")
    states, _ = states_and_logits(lm)
    with torch.no_grad():
        expected = lm.base_model.final_layer_norm(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(found(lm).norm(states), expected, atol=1e-5)


def test_the_head_does_not_follow_the_model_when_its_weights_change() -> None:
    lm = a_model("llama")
    head = found(lm)
    before = head.unembedding.copy()
    lm.get_output_embeddings().weight.data.zero_()
    np.testing.assert_array_equal(head.unembedding, before)


def test_a_head_with_a_tampered_weight_is_refused_and_told_by_how_much() -> None:
    lm = a_model("gpt_neox")
    head = found(lm)
    tampered = {name: array.copy() for name, array in head.arrays.items()}
    tampered["gpt_neox.final_layer_norm.gain"][3] += 0.1
    with pytest.raises(HeadReplayError, match=r"differ from the model's by up to 0\.\d+"):
        verify_head(lm, replace(head, arrays=tampered))
    assert verify_head(lm, head).max_abs_error == head.max_abs_error


def test_a_head_without_its_soft_cap_is_refused() -> None:
    lm = a_model("gemma2 (soft cap)")
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
    lm = a_model("llama")
    lm.lm_head = nn.Sequential(_Sorted(), lm.lm_head)
    with pytest.raises(ModelStructureError, match=r"what lm_head\.0 \(_Sorted\) does"):
        find_head(lm)


def test_a_model_in_training_mode_is_read_without_dropout_and_left_in_it() -> None:
    lm = a_model("gpt2 (tied)").train()
    assert found(lm).max_abs_error < 1e-4
    assert lm.training


@pytest.mark.parametrize("family", ["bert", "llama", "gpt_neox"])
def test_a_model_without_a_language_model_head_has_none(family: str) -> None:
    assert find_head(tiny_model(family)) is None


def test_an_encoder_decoder_has_none_as_its_encoder_reads_out_no_tokens() -> None:
    lm = transformers.AutoModelForSeq2SeqLM.from_config(CONFIGS["t5"]())
    assert find_head(lm) is None
