"""What a model's token ids stand for: one table a model, so that a lens needs no tokenizer.

Written once, beside the first lens head; the tokenizer's digest, the same for all checkpoints of a
model in a store, is kept in the file.
"""

from __future__ import annotations

import io
import string
import unicodedata
from collections.abc import Collection, Sequence
from contextlib import suppress

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from actstore.errors import PlanMismatchError
from actstore.refs import model_key
from actstore.store.storage import Storage, join

_DIGEST = b"tokenizer_digest"
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
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd")
    with suppress(FileExistsError):  # another process was first
        storage.create(_key(model), written.getbuffer())
    require_vocabulary_of(storage, model, digest)


def require_vocabulary_of(storage: Storage, model: str, digest: str) -> None:
    """Raise PlanMismatchError unless the stored vocabulary is that of this tokenizer."""
    metadata = pq.read_schema(io.BytesIO(storage.read(_key(model)))).metadata or {}
    stored = metadata.get(_DIGEST, b"").decode()
    if stored != digest:
        raise PlanMismatchError(
            f"{_key(model)} is the vocabulary of the tokenizer {stored or '(none named)'}, "
            f"and this checkpoint's tokenizer is {digest}. All checkpoints of a model in a store "
            "share one; use another store."
        )


def read_vocabulary(storage: Storage, model: str) -> pd.DataFrame:
    """Columns id, token, is_special, is_blank, by id. Raises FileNotFoundError for none."""
    table = pq.read_table(io.BytesIO(storage.read(_key(model))))
    frame: pd.DataFrame = table.to_pandas()
    return frame


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
