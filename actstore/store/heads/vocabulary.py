"""What a model's token ids stand for: one table a model, so that a lens needs no tokenizer.

Written once, beside the first lens head; the tokenizer's digest, the same for all checkpoints of a
model in a store, is kept in the file.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa

from actstore.errors import PlanMismatchError
from actstore.refs import model_key
from actstore.store.records.damage import Damage
from actstore.store.records.documents import damaged
from actstore.store.records.parquet import is_flag, is_text, is_whole
from actstore.store.records.sealing import read_sealed_table, seal_damage, sealed_table
from actstore.store.storage import Storage, join

_DIGEST = b"tokenizer_digest"
_COLUMNS = {"id": is_whole, "token": is_text, "is_special": is_flag, "is_blank": is_flag}
_BLANK_KINDS = "ZPC"
"""Unicode's separators, punctuation, and control characters."""


def has_vocabulary(storage: Storage, model: str) -> bool:
    """Whether the model's vocabulary is stored."""
    return storage.exists(_key(model))


def write_vocabulary(
    storage: Storage, model: str, tokens: Sequence[str], special: Collection[int], digest: str
) -> None:
    """Store what each id, 0 .. len(tokens) - 1, is decoded to; nothing if that is stored already.

    special: ids the tokenizer adds or treats as no text. digest: the tokenizer's.
    Raises PlanMismatchError if the vocabulary of another tokenizer is stored.
    """
    table = pa.table(
        {
            "id": pa.array(range(len(tokens)), pa.int32()),
            "token": pa.array(tokens, pa.string()),
            "is_special": pa.array([i in special for i in range(len(tokens))], pa.bool_()),
            "is_blank": pa.array([is_blank(token) for token in tokens], pa.bool_()),
        },
        metadata={_DIGEST: digest.encode()},
    )
    with suppress(FileExistsError):  # another process was first
        storage.create(_key(model), sealed_table(_key(model), table))
    require_vocabulary_of(storage, model, digest)


def require_vocabulary_of(storage: Storage, model: str, digest: str) -> None:
    """Raise PlanMismatchError unless the stored vocabulary is that of this tokenizer."""
    metadata = read_sealed_table(storage, _key(model), _COLUMNS).schema.metadata or {}
    stored = metadata.get(_DIGEST, b"").decode(errors="replace")
    if stored != digest:
        raise PlanMismatchError(
            f"{_key(model)} is the vocabulary of the tokenizer {stored or '(none named)'}, "
            f"and this checkpoint's tokenizer is {digest}. All checkpoints of a model in a store "
            "share one; use another store."
        )


def read_vocabulary(storage: Storage, model: str) -> pd.DataFrame:
    """Columns id, token, is_special, is_blank, by id.

    Raises FileNotFoundError for none, CorruptShardError for a damaged one or another model's.
    """
    table = read_sealed_table(storage, _key(model), _COLUMNS)
    if not np.array_equal(table["id"].to_numpy(), np.arange(len(table))):
        raise damaged(storage, _key(model), "its ids are not 0, 1, 2, …")
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def damage(storage: Storage, model: str, *, quick: bool) -> Iterator[Damage]:
    """What is wrong with a model's vocabulary, if it has one; the next lens head makes it again."""
    if has_vocabulary(storage, model):
        yield from seal_damage(storage, _key(model), quick=quick, remade=True)


def _key(model: str) -> str:
    return join("models", model_key(model), "vocabulary.parquet")


def is_blank(token: str) -> bool:
    """Whether a token says nothing by itself: white space, punctuation or control characters only.

    Punctuation is what Unicode calls so, and the rest of ASCII's that is neither letter nor digit
    (`$+<=>^`|~`). True for an empty token.
    """
    return all(
        unicodedata.category(one)[0] in _BLANK_KINDS or one in string.punctuation for one in token
    )
