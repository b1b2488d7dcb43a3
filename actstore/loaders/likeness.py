"""Which texts must stay on one side of a split: the same, nearly the same, or of one source."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from actstore.loaders.order import Ints
from actstore.store import Store

_BETWEEN_WORDS = re.compile(r"[\W_]+")


def groups_of(store: Store, rows: Ints, given: Sequence[Hashable] | None = None) -> Ints:
    """(n,): a number for each text, the same for texts that must not be parted, from 0.

    Alike are texts of one row, texts that differ in nothing but case, punctuation and spaces,
    a text and its views in any view set, and texts of one group in `given`; and what is alike to
    something that is alike.
    """
    ties: list[Ints] = [pd.factorize(rows)[0], pd.factorize(np.array(_words(store, rows)))[0]]
    if given is not None:
        ties.append(pd.factorize(pd.Series(list(given), dtype=object), use_na_sentinel=False)[0])
    places = [(np.arange(len(rows)), codes) for codes in ties]
    places += [_sources(store, name, rows) for name in store.views()]
    return _connected(len(rows), places)


def _words(store: Store, rows: Ints) -> list[str]:
    """Each text without case and punctuation; one of nothing but these as it is."""
    texts = store.read_texts(rows)
    words = (_BETWEEN_WORDS.sub(" ", _folded(text)).strip() for text in texts)
    return [found or text for found, text in zip(words, texts, strict=True)]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _sources(store: Store, name: str, rows: Ints) -> tuple[Ints, Ints]:
    """Which of the texts are views of which, in a view set, or its sources: (pair,) each."""
    views = store.view_set(name).frame()
    itself = pd.DataFrame({"row": views["source_row"], "source_row": views["source_row"]})
    known = pd.concat([views[["row", "source_row"]], itself]).drop_duplicates()
    ours = pd.DataFrame({"row": rows, "place": np.arange(len(rows))})
    pairs = ours.merge(known, on="row")
    return pairs["place"].to_numpy(np.int64), pairs["source_row"].to_numpy(np.int64)


def _connected(n: int, ties: Sequence[tuple[Ints, Ints]]) -> Ints:
    """(n,): connected components of texts that are tied to the same thing of the same kind."""
    texts, things, end = [], [], n
    for places, codes in ties:
        texts.append(places)
        things.append(codes + end)
        end += int(codes.max()) + 1 if len(codes) else 0
    left, right = np.concatenate(texts), np.concatenate(things)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(end, end))
    _, labels = connected_components(graph, directed=False)
    groups: Ints = pd.factorize(labels[:n])[0].astype(np.int64)
    return groups
