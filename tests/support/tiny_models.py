"""Tiny random models of many families, built from a configuration, and a tokenizer for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

VOCABULARY = 300
N_BLOCKS = 3
HIDDEN = 32

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}

CONFIGS: dict[str, Callable[[], transformers.PretrainedConfig]] = {
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_SIZES, **_SPECIAL),
    "llama": lambda: transformers.LlamaConfig(**_SIZES, **_SPECIAL),
    "gemma2": lambda: transformers.Gemma2Config(
        **_SIZES, **_SPECIAL, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=N_BLOCKS, n_head=4, n_positions=64, **_SPECIAL
    ),
    "bert": lambda: transformers.BertConfig(**_SIZES, pad_token_id=0),
    "mamba": lambda: transformers.MambaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=N_BLOCKS,
        state_size=8,
        **_SPECIAL,
    ),
    "opt": lambda: transformers.OPTConfig(
        **{k: v for k, v in _SIZES.items() if k != "intermediate_size"},
        **_SPECIAL,
        ffn_dim=64,
        word_embed_proj_dim=HIDDEN,
    ),
    "t5": lambda: transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=HIDDEN,
        num_layers=N_BLOCKS,
        num_heads=4,
        d_ff=64,
        d_kv=8,
        pad_token_id=0,
        eos_token_id=1,
    ),
    "roberta": lambda: transformers.RobertaConfig(
        **_SIZES, pad_token_id=1, bos_token_id=0, eos_token_id=2
    ),
    "albert": lambda: transformers.AlbertConfig(**_SIZES, embedding_size=16, pad_token_id=0),
}
"""Configurations by family; every call gives a fresh one."""

CAUSAL = ("gpt_neox", "llama", "gemma2", "gpt2", "mamba", "opt")


def tiny_model(family: str, *, lm_head: bool = False, seed: int = 0) -> nn.Module:
    """A random model of this family in evaluation mode; `lm_head` gives the causal LM.

    Norm weights and biases are random too: initialised as ones and zeros they hide mistakes.
    """
    torch.manual_seed(seed)
    auto = transformers.AutoModelForCausalLM if lm_head else transformers.AutoModel
    model: nn.Module = auto.from_config(CONFIGS[family]()).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def tiny_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE without padding token, as Pythia's; ids are below VOCABULARY."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|padding|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(tiny_texts(64), trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", model_max_length=64
    )


def tiny_texts(n: int) -> list[str]:
    """n different texts of very different lengths."""
    return [f"{i}: " + " ".join(_word(i + j) for j in range(i % 17)) for i in range(n)]


def _word(i: int) -> str:
    words = ("the", "store", "holds", "every", "layer", "of", "each", "checkpoint’s", "states")
    return words[i % len(words)]


def save_tiny_model(
    folder: Path, family: str, *, checkpoints: Sequence[str] = (), lm_head: bool = True
) -> Path:
    """Write a model and its tokenizer to a folder, or one of each name to folders below it."""
    for seed, name in enumerate(checkpoints or [""]):
        head = lm_head and family in CAUSAL
        tiny_model(family, lm_head=head, seed=seed).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    return folder
