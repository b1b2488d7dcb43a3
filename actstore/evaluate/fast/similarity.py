"""Similarities of pairs of texts: a text encoded once, pairs compared in blocks that fit a cache.

Every similarity of a pair depends on its two rows alone, so that blocks of rows give what all rows
at once give, to the bit. For models with a similarity of their own, all rows are one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb._create_dataloaders import create_dataloader
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.similarity_functions import compute_pairwise_similarity
from numpy.typing import NDArray
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import row_norms

from actstore.evaluate.fast.tables import Table

_BLOCK_VALUES = 1 << 19
"""In a block of one side: 2 MB of float32, so that a block's intermediates stay in a cache."""


@dataclass(frozen=True)
class Texts:
    """One side of the pairs."""

    distinct: Table
    """`text`: each distinct text, in order of its first row."""
    which: NDArray[np.int64]
    """(pair,) the row in `distinct`."""


@dataclass(frozen=True)
class Side:
    """One side of the pairs with the vectors of one layer."""

    vectors: NDArray[np.floating[Any]]
    """(distinct text, hidden), as the model returned them."""
    which: NDArray[np.int64]


@dataclass(frozen=True)
class PairScores:
    """(pair,) each, in the dtype of the vectors; `similarity` as the model has it."""

    cosine: NDArray[np.floating[Any]]
    manhattan: NDArray[np.floating[Any]]
    euclidean: NDArray[np.floating[Any]]
    dot: NDArray[np.floating[Any]]
    similarity: NDArray[np.floating[Any]]


def distinct_texts(data: Table, column: str) -> Texts:
    """The texts of a column; worked out once for a table."""
    return data.once(("distinct", column), lambda: _distinct(data, column))


def _distinct(data: Table, column: str) -> Texts:
    places: dict[str, int] = {}
    which = [places.setdefault(text, len(places)) for text in data[column]]
    first = np.unique(np.asarray(which), return_index=True)[1]
    rows = data.select_columns(column).select(first)
    renamed = rows if column == "text" else rows.rename_column(column, "text")
    return Texts(Table.of(renamed), np.asarray(which, np.int64))


def encode(texts: Texts, model: Any, encode_kwargs: Any, **place: Any) -> Side:
    """The vectors of one side. place: what mteb tells a model of the call."""
    metadata = place["task_metadata"]
    loader = create_dataloader(texts.distinct, task_metadata=metadata, **encode_kwargs)
    vectors = model.encode(loader, **place, **encode_kwargs)
    return Side(vectors, texts.which)


def are_plain(*sides: Side) -> bool:
    """Whether the vectors are what the arithmetic here is known for: numpy's, of one float type.

    How numpy adds up rows that are longer than its buffer depends on the rows around them.
    """
    vectors = [side.vectors for side in sides]
    return all(
        isinstance(one, np.ndarray)
        and one.ndim == 2
        and one.flags.c_contiguous
        and one.dtype == vectors[0].dtype
        and one.dtype in (np.float32, np.float64)
        and one.shape[1] <= np.getbufsize()
        for one in vectors
    )


def pair_scores(model: Any, first: Side, second: Side) -> PairScores:
    """All similarities of the pairs.

    Raises ValueError for vectors that are not finite, as scikit-learn does.
    """
    units = normalize(first.vectors), normalize(second.vectors)
    hidden = first.vectors.shape[1] if _is_by_row(model) else 0
    blocks = [
        _block_scores(model, first, second, units, rows)
        for rows in _blocks(len(first.which), hidden)
    ]
    names = PairScores.__dataclass_fields__
    return PairScores(*(np.concatenate([getattr(b, name) for b in blocks]) for name in names))


def _block_scores(
    model: Any, first: Side, second: Side, units: tuple[Any, Any], rows: slice
) -> PairScores:
    places = first.which[rows], second.which[rows]
    one, other = first.vectors[places[0]], second.vectors[places[1]]
    apart = one - other
    return PairScores(
        cosine=1 - 0.5 * row_norms(units[0][places[0]] - units[1][places[1]], squared=True),
        euclidean=row_norms(apart),
        manhattan=np.abs(apart, out=apart).sum(axis=-1),
        dot=np.vecdot(one, other),
        similarity=np.asarray(compute_pairwise_similarity(model, one, other)),
    )


def _blocks(n_rows: int, hidden: int) -> Iterator[slice]:
    """Row ranges of equal numbers of values; a single one where `hidden` is 0."""
    step = max(_BLOCK_VALUES // hidden, 1) if hidden else max(n_rows, 1)
    return (slice(start, start + step) for start in range(0, max(n_rows, 1), step))


def _is_by_row(model: Any) -> bool:
    """Whether the model's similarity of a pair is known to depend on the pair alone."""
    if not isinstance(model, AbsEncoder):
        return False
    own = getattr(model.similarity_pairwise, "__func__", None) is AbsEncoder.similarity_pairwise
    simple = (ScoringFunction.COSINE, ScoringFunction.DOT_PRODUCT)
    return own and model.mteb_model_meta.similarity_fn_name in simple
