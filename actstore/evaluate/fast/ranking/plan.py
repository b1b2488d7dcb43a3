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

from actstore.evaluate.fast.ranking.lists import (
    Candidates,
    Ints,
    Judgements,
    PackedLists,
    encoded,
    first_use,
)
from actstore.evaluate.fast.ranking.places import Codes, Lists, Places, Positives, join


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
    complete = not merge or len(ids) == np.count_nonzero(np.diff(judged.offsets)[judged.which])
    if not (complete and _is_usual(corpus, ids, candidates, judged)):
        return None
    position = _found(ids, judged.queries)
    first_rows, text_of = distinct_rows(data["queries"].select(kept))
    list_of, judged_of = _list_of(ids, ranked, candidates), judged.which[position]
    positives = _positives(judged, corpus)
    places, repeats = join(candidates, positives, list_of, judged_of)
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


def _is_usual(corpus: pa.Array, ids: pa.Array, candidates: Lists, judged: Judgements) -> bool:
    """Whether names are unlike, all candidates are there and no grade is negative."""
    unlike = all(pc.count_distinct(names).as_py() == len(names) for names in (corpus, ids))
    there = len(ids) > 0 and candidates.documents.min(initial=0) >= 0
    return unlike and there and bool(_grades(judged).min(initial=0) >= 0)


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
