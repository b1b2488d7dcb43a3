"""The tokens of a store's texts, for shards and for token-level samples."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.extract.outline import Outline
from actstore.extract.request import TokenSampleRequest
from actstore.extract.sample_tokens import sample_texts
from actstore.extract.tokenise import Tokenised, tokenise
from actstore.progress import progress
from actstore.store import Shard, Store, TokenisedText

_TEXTS_AT_ONCE = 4096


class ShardTokens:
    """Tokens of shards, made in a thread ahead of their use, once for all checkpoints that share a
    tokenizer.

    Takes four bytes a token, and a few for each text.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._made: dict[tuple[str, int, int], Future[Tokenised]] = {}
        self._samples: dict[tuple[str, str], list[TokenisedText]] = {}

    def ahead(self, outline: Outline, shard: Shard) -> None:
        """Have a shard tokenised, unless it is already or soon will be."""
        key = (outline.tokenizer_digest, shard.start, shard.stop)
        if key not in self._made:
            self._made[key] = self._pool.submit(self._tokenise, outline, shard)

    def of(self, outline: Outline, shard: Shard) -> Tokenised:
        """The tokens of a shard's rows, in their order.

        Raises InvalidTextError for a text without tokens, InvalidInputError for a tokenizer that
        is another model's.
        """
        self.ahead(outline, shard)
        return self._made[outline.tokenizer_digest, shard.start, shard.stop].result()

    def of_sample(self, outline: Outline, sample: TokenSampleRequest) -> list[TokenisedText]:
        """The tokens of a token-level sample: see `sample_texts`."""
        key = (outline.tokenizer_digest, sample.name)
        if key not in self._samples:
            texts = sample_texts(self._store, outline, sample)
            _require_vocabulary(outline, np.concatenate([text.token_id for text in texts]))
            self._samples[key] = texts
        return self._samples[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tokenise(self, outline: Outline, shard: Shard) -> Tokenised:
        texts = self._store.read_texts(shard.rows)
        tokens = tokenise(outline.tokenizer, texts, shard.rows, outline.max_tokens)
        _require_vocabulary(outline, tokens.flat)
        return tokens


def count_tokens(
    store: Store, outline: Outline, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """n_tokens and truncated of some rows, (row,) each: stored ones, and else counted now."""
    n_tokens, truncated = np.zeros(len(rows), np.int32), np.zeros(len(rows), bool)
    model = outline.source.model
    if model in store.models():
        place = np.searchsorted(store.text_rows(), rows)
        stored = store.text_lengths(model)
        n_tokens, truncated = stored["n_tokens"][place], stored["truncated"][place]
    unknown = np.flatnonzero(n_tokens == 0)
    texts = store.read_texts(rows[unknown])
    with progress("Counting tokens", len(unknown), "texts") as advance:
        for start in range(0, len(unknown), _TEXTS_AT_ONCE):
            part = unknown[start : start + _TEXTS_AT_ONCE]
            of_part = texts[start : start + _TEXTS_AT_ONCE]
            tokens = tokenise(outline.tokenizer, of_part, rows[part], outline.max_tokens)
            n_tokens[part], truncated[part] = tokens.n_tokens, tokens.truncated
            advance(len(part))
    return n_tokens, truncated


def _require_vocabulary(outline: Outline, token_ids: NDArray[np.int32]) -> None:
    """Raise InvalidInputError for an id that the model has no embedding of: a GPU would abort."""
    largest = int(token_ids.max())
    if largest >= outline.vocabulary_size:
        raise InvalidInputError(
            f"The tokenizer of {outline.source.model} gives the token id {largest} "
            f"({outline.tokenizer.convert_ids_to_tokens(largest)!r}), the model has "
            f"{outline.vocabulary_size} embeddings. Save the tokenizer that the model was trained "
            "with beside it."
        )
