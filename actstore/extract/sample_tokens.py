"""The tokens of a token-level sample: ids, which are special, and the bytes each stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.extract.model.load import quiet
from actstore.extract.outline import Outline
from actstore.extract.request import TokenSampleRequest
from actstore.extract.tokenise import token_bytes, tokenise
from actstore.progress import progress
from actstore.store import Store, TokenisedText

_TEXTS_AT_ONCE = 4096


def sample_texts(store: Store, outline: Outline, sample: TokenSampleRequest) -> list[TokenisedText]:
    """The texts of a token-level sample, each once, and the bytes that each token stands for.

    Raises InvalidInputError for no texts, and for a tokenizer that does not say which characters a
    token is of; UnknownTextError for rows that hold no text.
    """
    rows = np.array(list(dict.fromkeys(sample.rows)), np.int64)
    require_usable(outline, sample)
    texts, found = store.read_texts(rows), list[TokenisedText]()
    with progress(f"Tokenising {sample.name}", len(rows), "texts") as advance:
        for start in range(0, len(rows), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            found += _tokenised(outline, texts[part], rows[part])
            advance(len(rows[part]))
    return found


def require_usable(outline: Outline, sample: TokenSampleRequest) -> None:
    """Raise InvalidInputError for a sample without texts, or whose tokens cannot be placed."""
    if not len(sample.rows):
        raise InvalidInputError(
            f"The token sample {sample.name!r} has no texts: choose at least one."
        )
    if not outline.tokenizer.is_fast:
        raise InvalidInputError(
            f"The tokenizer of {outline.source.model} does not say which characters a token is of, "
            "which a token sample needs. Save a fast tokenizer (tokenizer.json) beside the model."
        )


def _tokenised(
    outline: Outline, texts: Sequence[str], rows: NDArray[np.int64]
) -> Iterator[TokenisedText]:
    tokens = tokenise(outline.tokenizer, texts, rows, outline.max_tokens)
    encoded = _encode(outline, texts)
    columns = zip(
        rows.tolist(),
        texts,
        tokens.token_ids,
        tokens.truncated.tolist(),
        encoded["special_tokens_mask"],
        encoded["offset_mapping"],
        strict=True,
    )
    side = outline.tokenizer.truncation_side
    for row, text, token_id, truncated, special, offsets in columns:
        n_bytes = token_bytes(offsets, text, special, side if truncated else None)
        yield TokenisedText(row, token_id, np.array(special, bool), n_bytes)


def _encode(outline: Outline, texts: Sequence[str]) -> Any:
    with quiet():  # it would report texts beyond the model's longest input
        return outline.tokenizer(
            list(texts),
            padding=False,
            truncation=True,
            max_length=outline.max_tokens,
            return_attention_mask=False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
