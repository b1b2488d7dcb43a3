"""What ranking given candidates needs and no layer changes: worked out once for a task.

Everything is codes: documents are rows of the corpus, texts are the distinct rows of the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking_lists import (
    Candidates,
    Ints,
    Judgements,
    PackedLists,
    encoded,
    first_use,
    ranges,
)

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


@dataclass(frozen=True)
class Groups:
    """Queries whose results are merged (Mind: one impression's), in the order mteb merges them."""

    of_query: Ints
    """(query,)"""
    position: Ints
    """(query,) its place among the judgements, which orders the queries of a group."""
    n: int


@dataclass(frozen=True)
class RankingPlan:
    """One split of a task. Queries without judgements are left out, as mteb does."""

    first_rows: Ints
    """(text,) the row of the queries data set that has a text first."""
    text_of: Codes
    """(query,) its text."""
    list_of: Codes
    """(query,) its candidates."""
    judged_of: Codes
    """(query,) its judgements."""
    candidates: Lists
    """The last is empty: of queries without candidates."""
    repeats: NDArray[np.bool_]
    """(list,) whether candidates name a document twice."""
    positives: Positives
    places: Places
    id_rank: Codes
    """(document,) its place among all documents by identifier, which breaks ties."""
    groups: Groups | None

    @property
    def n_queries(self) -> int:
        return len(self.text_of)


def make_plan(data: Mapping[str, Any], *, merge: bool) -> RankingPlan | None:
    """The plan of a split, or None where what happens is left to mteb's own code.

    data: `corpus`, `queries`, `relevant_docs` and `top_ranked`. merge: queries named `<base>_<i>`
    are merged by base.
    """
    if not all(_has_names(data[part]) for part in ("corpus", "queries")):
        return None
    corpus, ids = _names(data["corpus"]), _names(data["queries"])
    judged, ranked = Judgements.pack(data["relevant_docs"]), Candidates.pack(data["top_ranked"])
    kept = _with_judgements(ids, judged)
    ids = ids.take(pa.array(kept))
    candidates = _with_empty(_lists(ranked, corpus))
    position = _found(ids, judged.queries)
    usual = _are_unlike(ids, corpus) and candidates.documents.min(initial=0) >= 0
    complete = not merge or len(ids) == np.count_nonzero(np.diff(judged.offsets)[judged.which])
    if not (usual and complete and len(ids) and _grades(judged).min(initial=0) >= 0):
        return None
    first_rows, text_of = distinct_rows(data["queries"].select(kept))
    list_of, judged_of = _list_of(ids, ranked, candidates), judged.which[position]
    positives = _positives(judged, corpus)
    places, repeats = _join(candidates, positives, list_of, judged_of)
    return RankingPlan(
        first_rows=kept[first_rows],
        text_of=text_of,
        list_of=list_of,
        judged_of=judged_of,
        candidates=candidates,
        repeats=repeats,
        positives=positives,
        places=places,
        id_rank=_ranks(corpus),
        groups=_groups(judged.queries, position) if merge else None,
    )


def _with_judgements(ids: pa.Array, judged: Judgements) -> Ints:
    """The rows of the queries that have a judgement."""
    position = _found(ids, judged.queries)
    some = np.append(np.diff(judged.offsets)[judged.which] > 0, False)  # the last: of those unfound
    return np.flatnonzero(some[position])


def _are_unlike(*names: pa.Array) -> bool:
    return all(pc.count_distinct(array, mode="all").as_py() == len(array) for array in names)


def _lists(packed: PackedLists[Any], corpus: pa.Array) -> Lists:
    rows = np.append(_found(packed.documents, corpus), -1)
    return Lists(packed.offsets, rows[packed.codes].astype(np.int32))


def _with_empty(lists: Lists) -> Lists:
    return Lists(np.append(lists.offsets, lists.offsets[-1]), lists.documents)


def _list_of(ids: pa.Array, ranked: Candidates, candidates: Lists) -> Codes:
    empty = len(candidates.offsets) - 2
    lists = np.append(ranked.which, empty)[_found(ids, ranked.queries)]
    return np.where(candidates.sizes()[lists] > 0, lists, empty).astype(np.int32)


def _positives(judged: Judgements, corpus: pa.Array) -> Positives:
    lists, grades = _lists(judged, corpus), _grades(judged)
    relevant = np.append(0, np.cumsum(grades > 0))
    some = Lists(relevant[lists.offsets], lists.documents[grades > 0])
    return Positives(some, grades[grades > 0])


def _grades(judged: Judgements) -> Ints:
    assert judged.grades is not None
    return judged.grades


def _join(
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


def _groups(queries: pa.Array, position: Ints) -> Groups:
    """Bases are numbered in the order of the judgements, as mteb merges them."""
    bases = pc.replace_substring_regex(queries.take(pa.array(np.sort(position))), "_?[^_]*$", "")
    encoded = bases.dictionary_encode()
    of_sorted = encoded.indices.to_numpy().astype(np.int64)
    of_query = np.empty_like(of_sorted)
    of_query[np.argsort(position)] = of_sorted
    return Groups(of_query, position, len(encoded.dictionary))


def distinct_rows(data: Dataset) -> tuple[Ints, Codes]:
    """The rows that are first of their kind, and (row,) the kind of every row.

    Rows are of a kind when they are equal in all but their identifier.
    """
    table, codes = data.with_format("arrow")[:], np.zeros(len(data), np.int64)
    for name in table.column_names:
        if name == "id":
            continue
        if pa.types.is_nested(table[name].type):  # conversations: taken as all unlike
            return np.arange(len(data)), np.arange(len(data), dtype=np.int32)
        _, own = encoded(table[name])
        _, kinds = first_use(codes * (int(own.max(initial=0)) + 1) + own)
        codes = kinds.astype(np.int64)
    _, first = np.unique(codes, return_index=True)
    return first, codes.astype(np.int32)


def _found(names: pa.Array, among: pa.Array) -> Ints:
    """The place of each name, -1 where it is not."""
    places = pc.fill_null(pc.index_in(names, value_set=among), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), np.int64)


def _ranks(ids: pa.Array) -> Codes:
    """The place of each identifier in their order (of UTF-8 and of Python strings alike)."""
    ranks = np.empty(len(ids), np.int32)
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks


def _has_names(data: Dataset) -> bool:
    return "id" in data.features and data.features["id"].dtype in ("string", "large_string")


def _names(data: Dataset) -> pa.Array:
    column = data.select_columns(["id"]).with_format("arrow")[:]["id"].cast(pa.string())
    return pa.concat_arrays([pa.array([], pa.string()), *column.chunks])
