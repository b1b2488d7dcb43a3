"""Texts to token ids: with the model's own tokenizer, cut at the model's longest input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import transformers
from numpy.typing import NDArray
from transformers import AutoTokenizer

from actstore.errors import InvalidInputError, InvalidTextError
from actstore.extract.checkpoints.sources import Source, has_file
from actstore.extract.model.load import quiet

UNLIMITED_MAX_TOKENS = 2048
"""Where neither config nor tokenizer states a longest input (Mamba, T5)."""
_ABSURD = 1 << 24
"""Tokenizers without a longest input state 1e30."""


@dataclass(frozen=True)
class Tokenised:
    """Tokens of some texts, one behind the other."""

    flat: NDArray[np.int32]
    """(token,): the ids of all texts, in their order."""
    n_tokens: NDArray[np.int32]
    """(text,): tokens after cutting, those that the tokenizer adds included."""
    truncated: NDArray[np.bool_]
    """(text,): whether tokens were cut off."""

    @property
    def token_ids(self) -> list[NDArray[np.int32]]:
        """The ids of each text: views."""
        return np.split(self.flat, np.cumsum(self.n_tokens)[:-1])


def load_tokenizer(source: Source) -> Any:
    """A checkpoint's tokenizer; of an adapter without one its base model's.

    Raises InvalidInputError where there is none.
    """
    holder = tokenizer_source(source)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                holder.name, revision=holder.revision, trust_remote_code=holder.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise _no_tokenizer(source, str(error).strip().splitlines()[0]) from error
    # Without a vocabulary transformers 5 makes an empty tokenizer, to which all words are unknown.
    vocabulary = {name for name in tokenizer.vocab_files_names.values() if name}
    if vocabulary and not any(has_file(holder, name) for name in {*vocabulary, "tokenizer.json"}):
        raise _no_tokenizer(source, f"there is none of {', '.join(sorted(vocabulary))}.")
    return tokenizer


def tokenizer_source(source: Source) -> Source:
    """Where a checkpoint's tokenizer is: an adapter need not come with one."""
    if source.base is None or has_file(source, "tokenizer_config.json"):
        return source
    return source.base


def tokenizer_digest(tokenizer: Any) -> str:
    """What identifies a tokenizer, in hex: equal if and only if it cuts texts the same way.

    From the serialised tokenizer, without its settings for truncation and padding, which are ours.
    """
    if tokenizer.is_fast:
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        del content["truncation"], content["padding"]
    else:
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def choose_max_tokens(
    asked: int | None, config: transformers.PretrainedConfig, tokenizer: Any
) -> int:
    """Where texts are cut: as asked, by default the model's longest input.

    Raises InvalidInputError for more tokens than the model has positions.
    """
    limits = [_positions(config), int(min(tokenizer.model_max_length, _ABSURD))]
    longest = min((n for n in limits if n is not None and n < _ABSURD), default=None)
    if asked is None:
        return longest or UNLIMITED_MAX_TOKENS
    special = tokenizer.num_special_tokens_to_add()
    if asked <= special or (longest is not None and asked > longest):
        raise InvalidInputError(
            f"Cannot cut texts at {asked} tokens: the model reads at most {longest or 'any number'}"
            f"{f', and {special} of them are special' if special else ''}. Change --max-tokens."
        )
    return asked


def tokenise(
    tokenizer: Any, texts: Sequence[str], rows: NDArray[np.integer[Any]], max_tokens: int
) -> Tokenised:
    """Tokens of each text, at most max_tokens, with the special tokens that the tokenizer adds.

    rows: (text,), to name a text by. Raises InvalidTextError for a text without any token.
    """
    token_ids = _encode(tokenizer, texts, max_tokens)
    n_tokens = np.array([len(ids) for ids in token_ids], np.int32)
    _require_some(n_tokens, texts, rows)
    truncated = n_tokens == max_tokens
    full = np.flatnonzero(truncated)
    if len(full):  # exactly max_tokens long, or longer
        whole = _encode(tokenizer, [texts[int(i)] for i in full], None)
        truncated[full] = [len(ids) > max_tokens for ids in whole]
    flat = np.fromiter(chain.from_iterable(token_ids), np.int32, int(n_tokens.sum()))
    return Tokenised(flat, n_tokens, truncated)


def token_bytes(
    offsets: Sequence[tuple[int, int]],
    text: str,
    special: Sequence[int] = (),
    cut: Literal["left", "right"] | None = "right",
) -> NDArray[np.int32]:
    """UTF-8 bytes of the text that each token stands for: (token,).

    offsets: (start, stop) in characters, of each token; (0, 0) for special ones. A token stands
    for the text from where the last one ended to its own end, so that white space before a word
    counts with the word. A character that several tokens share counts with the first, and whole
    where the cut goes through it. special: of each token, whether the tokenizer added it. cut: the
    side on which the text was cut, where what is beyond the tokens was not embedded; otherwise
    white space, and what else the tokenizer drops there, counts with the nearest token. So the sum
    is the bytes of the text, or of the part left of it.
    """
    if not offsets:
        return np.zeros(0, np.int32)
    starts, stops = np.array(offsets, np.int64).T
    real = np.flatnonzero(np.array(special) == 0)
    begin = starts[real[0]] if len(real) and cut == "left" else 0
    ends = np.maximum(np.maximum.accumulate(stops), begin)
    if len(real) and cut != "right":
        ends[real[-1] :] = len(text)
    at = _byte_offsets(text)
    return np.diff(at[ends], prepend=at[begin]).astype(np.int32)


def _byte_offsets(text: str) -> NDArray[np.int64]:
    """The byte in UTF-8 at which each character begins, and the end: (character + 1,)."""
    if text.isascii():
        return np.arange(len(text) + 1)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    widths = 1 + sum((codes >= first).astype(np.int64) for first in (0x80, 0x800, 0x10000))
    return np.concatenate([[0], np.cumsum(widths)])


def _no_tokenizer(source: Source, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot load the tokenizer of {source.model} at {source.checkpoint}: {reason} "
        "Save it beside the weights: tokenizer.save_pretrained(FOLDER)."
    )


def _encode(tokenizer: Any, texts: Sequence[str], max_tokens: int | None) -> list[list[int]]:
    with quiet():  # it would report texts beyond the model's longest input
        encoded = tokenizer(
            list(texts),
            padding=False,
            truncation=max_tokens is not None,
            max_length=max_tokens,
            return_attention_mask=False,
        )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _require_some(
    n_tokens: NDArray[np.int32], texts: Sequence[str], rows: NDArray[np.integer[Any]]
) -> None:
    empty = np.flatnonzero(n_tokens == 0)
    if len(empty):
        first = int(empty[0])
        raise InvalidTextError(
            f"{len(empty)} texts have no token, the first in row {rows[first]}: "
            f"{texts[first][:60]!r}. Nothing is left of it to pool: collect the other texts "
            "into a new store, or extract those of other tasks (--suite)."
        )


def _positions(config: transformers.PretrainedConfig) -> int | None:
    """The longest input that a config states."""
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := getattr(text_config, name, None), int):
            return value
    return None
