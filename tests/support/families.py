"""Tiny random models of every family whose layers and lens head are known from its source code.

Each entry states what the source of its class in transformers says: where the blocks and the final
norm are, and which steps turn the last block's output into logits. The tests compare that, and the
hidden states the model returns by itself, with what is found by watching data flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedConfig

VOCABULARY = 101
HIDDEN = 32
N_BLOCKS = 3

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
_SMALL_HEADS = {"head_dim": 8, "num_key_value_heads": 2}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "v_head_dim": 8, "num_key_value_heads": 4}
_LATENT |= {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
_STATE_SPACE = {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}
_FALCON_H1 = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1}
_FALCON_H1 |= {"mamba_d_state": 8, "mamba_chunk_size": 8, "num_key_value_heads": 2}
_LINEAR_ATTENTION = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "shared_expert_intermediate_size": 16,
}


@dataclass(frozen=True)
class Family:
    """A configuration, and what is known of the models made of it."""

    config: Callable[[], PretrainedConfig]
    """Every call gives a fresh one."""
    blocks: str
    """Path of the list of blocks in the base model (of an encoder-decoder: in the encoder)."""
    norm: str | None
    """Path of the final norm in the base model."""
    head: tuple[str, ...] | None
    """Kinds of the lens head's ops; None: no head, as the class or an encoder-decoder has none."""
    auto: Any = AutoModelForCausalLM
    first_entry: int = 0
    """The layer that entry 0 of the model's own `hidden_states` is."""
    first_position: int = 0
    """The position id of a text's first token."""
    left_padding: bool = True
    """False: the model cannot be told that a text begins after padding. RWKV heeds no mask,
    RecurrentGemma's convolution neither; BART's encoder counts positions from the first column."""
    projection: str | None = None
    """Path of what follows the last block in the base model and is no norm."""


def _config(name: str, **options: Any) -> Callable[[], PretrainedConfig]:
    return lambda: getattr(transformers, f"{name}Config")(**{**_SIZES, **options})


def _causal(name: str, blocks: str, norm: str | None, *head: str, **options: Any) -> Family:
    return Family(_config(name, **options), blocks, norm, head)


def _llama(name: str, *more: str, **options: Any) -> Family:
    """A family built as Llama is: layers, an RMS norm, the unembedding, and `more` after it."""
    return _causal(name, "layers", "norm", "rms_norm", "linear", *more, **options)


def _layer_normed(name: str, blocks: str, norm: str, *more: str, **options: Any) -> Family:
    return _causal(name, blocks, norm, "layer_norm", "linear", *more, **options)


def _masked(
    name: str, blocks: str, head: tuple[str, ...], norm: str | None = None, **options: Any
) -> Family:
    return Family(_config(name, **options), blocks, norm, head, AutoModelForMaskedLM)


def _encoder(name: str, blocks: str, norm: str | None = None, **options: Any) -> Family:
    return Family(_config(name, **options), blocks, norm, None, AutoModel)


MASKED_HEAD = ("linear", "activation", "layer_norm", "linear")

FAMILIES: dict[str, Family] = {
    "gpt_neox": _layer_normed("GPTNeoX", "layers", "final_layer_norm"),
    "gpt_neox sequential": _layer_normed(
        "GPTNeoX", "layers", "final_layer_norm", use_parallel_residual=False
    ),
    "llama": _llama("Llama"),
    "mistral": _llama("Mistral", num_key_value_heads=2),
    "mixtral": _llama("Mixtral", num_key_value_heads=2, num_local_experts=4),
    "qwen2": _llama("Qwen2", num_key_value_heads=2),
    "qwen3": _llama("Qwen3", **_SMALL_HEADS),
    "qwen3_next (1 + w)": _llama("Qwen3Next", **_SMALL_HEADS, **_EXPERTS, **_LINEAR_ATTENTION),
    "smollm3": _llama("SmolLM3", num_key_value_heads=2),
    "deepseek_v3": _llama(
        "DeepseekV3",
        **_LATENT,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
    ),
    "olmoe": _llama("Olmoe", num_experts=4, num_experts_per_tok=2),
    "gpt_oss": _llama(
        "GptOss", **_SMALL_HEADS, num_local_experts=4, num_experts_per_tok=2, rope_parameters=None
    ),
    "glm4": _llama("Glm4", **_SMALL_HEADS),
    "phi3": _llama("Phi3", num_key_value_heads=2),
    "gemma (1 + w)": _llama("Gemma", **_SMALL_HEADS),
    "gemma2 (soft cap)": _llama("Gemma2", "softcap", **_SMALL_HEADS, final_logit_softcapping=3.0),
    "gemma3 (1 + w)": _llama("Gemma3Text", **_SMALL_HEADS),
    "recurrent_gemma (soft cap)": replace(
        _causal(
            "RecurrentGemma",
            "layers",
            "final_norm",
            *("rms_norm", "linear", "softcap"),
            logits_soft_cap=3.0,
            lru_width=32,
            num_key_value_heads=2,
        ),
        left_padding=False,
    ),
    "nanochat (no gain)": _llama(
        "NanoChat", "softcap", num_key_value_heads=2, final_logit_softcapping=3.0
    ),
    "granite (logits scaling)": _llama(
        "Granite", "scale", num_key_value_heads=2, logits_scaling=8.0
    ),
    "falcon_h1 (head multiplier)": _causal(
        "FalconH1",
        "layers",
        "final_layernorm",
        *("rms_norm", "linear", "scale"),
        **_FALCON_H1,
        lm_head_multiplier=0.25,
    ),
    "minicpm3 (scale before the unembedding)": _causal(
        "MiniCPM3", "layers", "norm", "rms_norm", "scale", "linear", **_LATENT, dim_model_base=8
    ),
    "olmo2 (norms after)": _llama("Olmo2", num_key_value_heads=2),
    "olmo (no parameters)": _layer_normed("Olmo", "layers", "norm", num_key_value_heads=2),
    "cohere (logit scale)": _layer_normed(
        "Cohere", "layers", "norm", "scale", num_key_value_heads=2, logit_scale=0.0625
    ),
    "nemotron (1 + w)": _layer_normed("Nemotron", "layers", "norm", **_SMALL_HEADS),
    "stablelm": _layer_normed("StableLm", "layers", "norm", num_key_value_heads=2),
    "starcoder2": _layer_normed("Starcoder2", "layers", "norm", num_key_value_heads=2),
    "phi (head bias)": _layer_normed("Phi", "layers", "final_layernorm"),
    "gpt2": _layer_normed("GPT2", "h", "ln_f"),
    "gpt_bigcode": _layer_normed("GPTBigCode", "h", "ln_f"),
    "gptj (head bias)": _layer_normed("GPTJ", "h", "ln_f", rotary_dim=4),
    "codegen (head bias)": _layer_normed("CodeGen", "h", "ln_f", rotary_dim=4),
    "gpt_neo": _layer_normed(
        "GPTNeo", "h", "ln_f", attention_types=[[["global", "local", "global"], 1]]
    ),
    "bloom": _layer_normed("Bloom", "h", "ln_f"),
    "falcon": _layer_normed("Falcon", "h", "ln_f"),
    "mpt": _layer_normed("Mpt", "blocks", "norm_f"),
    "xglm": _layer_normed("XGLM", "layers", "layer_norm", ffn_dim=48),
    "opt": _layer_normed(
        "OPT", "decoder.layers", "decoder.final_layer_norm", ffn_dim=48, word_embed_proj_dim=HIDDEN
    ),
    "opt-350m (projection, no norm)": Family(
        _config("OPT", ffn_dim=48, word_embed_proj_dim=16, do_layer_norm_before=False),
        "decoder.layers",
        None,
        ("linear", "linear"),
        projection="decoder.project_out",
    ),
    "mamba": replace(
        _causal("Mamba", "layers", "norm_f", "rms_norm", "linear", state_size=8), first_entry=1
    ),
    "mamba2": replace(
        _causal("Mamba2", "layers", "norm_f", "rms_norm", "linear", **_STATE_SPACE), first_entry=1
    ),
    "rwkv": replace(_layer_normed("Rwkv", "blocks", "ln_out"), first_entry=1, left_padding=False),
    "bert": _masked("Bert", "encoder.layer", MASKED_HEAD),
    "roberta (activation outside modules)": replace(
        _masked("Roberta", "encoder.layer", MASKED_HEAD), first_position=1
    ),
    "distilbert": _masked("DistilBert", "transformer.layer", MASKED_HEAD, hidden_dim=48),
    "albert (one block, many times)": _masked(
        "Albert", "encoder.albert_layer_groups", MASKED_HEAD, embedding_size=16
    ),
    "modernbert (two norms)": _masked(
        "ModernBert",
        "layers",
        ("layer_norm", *MASKED_HEAD),
        "final_norm",
        cls_token_id=1,
        sep_token_id=2,
    ),
    "eurobert (an encoder built as Llama is)": _masked(
        "EuroBert", "layers", ("rms_norm", "linear"), "norm", num_key_value_heads=2
    ),
    "t5": _encoder("T5", "block", "final_layer_norm", d_kv=8, d_ff=48),
    "t5 v1.1": _encoder(
        "T5", "block", "final_layer_norm", d_kv=8, d_ff=48, feed_forward_proj="gated-gelu"
    ),
    "bart": replace(
        _encoder("Bart", "layers", encoder_ffn_dim=48, decoder_ffn_dim=48), left_padding=False
    ),
    "xlm_roberta": replace(_encoder("XLMRoberta", "encoder.layer"), first_position=1),
    "mpnet": replace(_encoder("MPNet", "encoder.layer"), first_position=2),
    "electra": _encoder("Electra", "encoder.layer", embedding_size=16),
    "deberta_v2": _encoder("DebertaV2", "encoder.layer"),
    "deberta_v2 (relative positions)": _encoder(
        "DebertaV2", "encoder.layer", relative_attention=True, pos_att_type=["p2c", "c2p"]
    ),
    "nomic_bert": _encoder("NomicBert", "layers"),
}
"""By name; what is unusual about a family's head stands in brackets."""


def family_model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of a family in evaluation mode, with its language-model head if it has one.

    All weights differ from what they are initialised to: ones and zeros would hide mistakes.
    """
    torch.manual_seed(0)
    family = FAMILIES[name]
    model = family.auto.from_config(family.config(), dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data += (0.2 if parameter.ndim == 1 else 0.05) * torch.randn_like(parameter)
    return model.to(dtype)


def base_of(model: Any) -> nn.Module:
    """The model without its head; of an encoder-decoder the encoder."""
    base: nn.Module = model.base_model
    return base.get_encoder() if model.config.is_encoder_decoder else base  # type: ignore[operator]
