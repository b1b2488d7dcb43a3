"""Where relevant documents are among the candidates of a query: no layer changes that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking.lists import Ints, ranges

Codes = NDArray[np.int32]

_ITEMS_AT_ONCE = 1 << 22
"""Candidates that are joined with judgements at once."""


@dataclass(frozen=True)
class Lists:
    """Lists of documents, one after the other."""

    offsets: Ints
    """(list + 1,)"""
    documents: Codes
    """Rows of the corpus; -1 where it has no such document."""

    def sizes(self) -> Ints:
        return np.diff(self.offsets)

    def of(self, one: int) -> Codes:
        return self.documents[self.offsets[one] : self.offsets[one + 1]]


@dataclass(frozen=True)
class Positives:
    """The documents of every list of judgements that are relevant: graded above 0."""

    lists: Lists
    gains: Ints
    """As long as `lists.documents`."""


@dataclass(frozen=True)
class Places:
    """Where each pair of candidates and judgements has its relevant documents."""

    of_query: Ints
    """(query,) its pair."""
    offsets: Ints
    """(pair + 1,)"""
    values: Codes
    """Places among the candidates, in the order of the judgements; -1 where they are not."""


def join(
    candidates: Lists, positives: Positives, list_of: Codes, judged_of: Codes
) -> tuple[Places, NDArray[np.bool_]]:
    """The places of relevant documents, and which lists name a document twice."""
    n_judged = len(positives.lists.offsets) - 1
    pairs, of_query = np.unique(
        list_of.astype(np.int64) * n_judged + judged_of, return_inverse=True
    )
    lists, judgements = np.divmod(pairs, max(n_judged, 1))
    repeats = np.zeros(len(candidates.offsets) - 1, np.bool_)
    ends = np.cumsum(candidates.sizes()[lists])
    parts = [np.empty(0, np.int32)]
    for some in np.split(np.arange(len(pairs)), _cuts(ends)):
        found, again = _join_some(candidates, positives.lists, lists[some], judgements[some])
        parts.append(found)
        repeats[lists[some][again]] = True
    sizes = positives.lists.sizes()[judgements]
    offsets = np.append(0, np.cumsum(sizes))
    return Places(of_query, offsets, np.concatenate(parts)), repeats


def _cuts(ends: Ints) -> Ints:
    """Where to cut pairs, that have so many candidates to their ends, into parts."""
    return np.flatnonzero(np.diff(ends // _ITEMS_AT_ONCE)) + 1


def _join_some(
    candidates: Lists, positives: Lists, lists: Ints, judgements: Ints
) -> tuple[Codes, Ints]:
    """Places of positives among candidates pair by pair, and the pairs with repeated candidates."""
    n_documents = int(candidates.documents.max(initial=0)) + 1
    offered, begins = _keys(candidates, lists, n_documents)
    wanted, wanted_begins = _keys(positives, judgements, n_documents)
    order = np.argsort(offered, kind="stable")
    ordered = offered[order]
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]] // n_documents)
    at = np.append(order, -1)[np.searchsorted(ordered, wanted)]
    hit = np.append(offered, -1)[at] == wanted
    pair = np.repeat(np.arange(len(judgements)), np.diff(wanted_begins))
    return np.where(hit, at - begins[pair], -1).astype(np.int32), again


def _keys(lists: Lists, picks: Ints, n_documents: int) -> tuple[Ints, Ints]:
    """A number for each (pick, document), -2 for documents that are in no list of candidates."""
    items, begins = ranges(lists.offsets, picks)
    documents = lists.documents[items].astype(np.int64)
    pick = np.repeat(np.arange(len(picks)), np.diff(begins))
    known = (documents >= 0) & (documents < n_documents)
    return np.where(known, pick * n_documents + documents, -2), begins
