"""Ranking every query's candidates, block by block: no object is made for a candidate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from actstore.evaluate.fast.ranking import blocks as blocks
from actstore.evaluate.fast.ranking.lists import Ints
from actstore.evaluate.fast.ranking.plan import RankingPlan
from actstore.evaluate.fast.ranking.results import Ranked
from actstore.evaluate.fast.ranking.schedule import Schedule
from actstore.evaluate.fast.ranking.similarity import Similarity


class NotANumberError(Exception):
    """A similarity is NaN: mteb's own code says so in its own words."""


@dataclass(frozen=True)
class Ranking:
    """All results of one layer on one split."""

    queries: Ranked
    groups: Ranked | None
    """Where results of queries are merged."""


def rank(plan: RankingPlan, schedule: Schedule, similarity: Similarity, top_k: int) -> Ranking:
    """Rank the candidates of all queries. Raises NotANumberError."""
    queries = Ranked.empty(plan.judged_of, plan.positives)
    groups = Ranked.empty(schedule.judged_of_group, plan.positives) if plan.groups else None
    for block in schedule.blocks:
        _rank_block(plan, similarity, block, Ranking(queries, groups))
    results = _rank_single(plan, similarity, schedule, queries, top_k)
    if plan.groups is not None and groups is not None:
        for group, merged in _merged(plan.groups.of_query, plan.groups.position, results):
            groups.put_scores(group, merged, plan.id_rank)
    return Ranking(queries, groups)


def _rank_block(plan: RankingPlan, similarity: Similarity, queries: Ints, to: Ranking) -> None:
    scores, id_ranks = _scores(plan, similarity, queries)
    places = _places(plan, queries)
    to.queries.put(queries, blocks.ranks(scores, places, id_ranks), blocks.confidence(scores))
    if plan.groups is None or to.groups is None:
        return
    groups = plan.groups.of_query[queries]
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    best = np.maximum.reduceat(scores, first, axis=0)
    order = blocks.kept_order(scores[first], id_ranks[first])
    ranks = blocks.ranks(best, places[first], id_ranks[first])
    to.groups.put(groups[first], ranks, blocks.merged_confidence(best, order))


def _scores(
    plan: RankingPlan, similarity: Similarity, queries: Ints
) -> tuple[blocks.Floats, blocks.Codes]:
    """Scores and ranks of identifiers, (query, candidate), of queries with equally many."""
    products, id_ranks = [], []
    for one, some in _runs(plan, queries):
        documents = plan.candidates.of(one)
        products.append(similarity.of(plan.text_of[some].tolist(), documents))
        id_ranks.append(np.broadcast_to(plan.id_rank[documents], (len(some), len(documents))))
    scores = torch.cat(products).numpy()
    if np.isnan(scores).any():
        raise NotANumberError
    return scores, np.concatenate(id_ranks)


def _runs(plan: RankingPlan, queries: Ints) -> Iterator[tuple[int, Ints]]:
    """Candidates and the queries, one after the other, that have them."""
    lists = plan.list_of[queries]
    cuts = np.flatnonzero(np.diff(lists)) + 1
    begins = [0, *cuts.tolist()] if len(lists) else []
    yield from zip(lists[begins].tolist(), np.split(queries, cuts), strict=False)


def _places(plan: RankingPlan, queries: Ints) -> blocks.Codes:
    """(query, relevant document) of queries with equally many."""
    begins = plan.places.offsets[plan.places.of_query[queries]]
    n = plan.positives.lists.sizes()[plan.judged_of[queries[0]]]
    return plan.places.values[begins[:, None] + np.arange(n)]


Results = dict[int, dict[int, float]]
"""Query -> rank of identifier -> score, both in mteb's order."""


def _rank_single(
    plan: RankingPlan, similarity: Similarity, schedule: Schedule, to: Ranked, top_k: int
) -> Results:
    """Rank queries one by one, as mteb does. Returns the results of those that will be merged."""
    merged: Results = {}
    for one, queries in _runs(plan, schedule.single):
        if len(plan.candidates.of(one)) == 0:
            merged.update({query: {} for query in queries.tolist()})
            continue
        scores, id_ranks = _scores(plan, similarity, queries)
        for row, query in enumerate(queries.tolist()):
            kept = blocks.kept(scores[row], id_ranks[row], top_k)
            results = {name: score for score, name, _ in kept}
            to.put_scores(query, results, plan.id_rank)
            if plan.groups is not None:
                merged[query] = results
    return merged


def _merged(
    group_of: Ints, position: Ints, results: Results
) -> Iterator[tuple[int, dict[int, float]]]:
    """The best score of each document over a group's queries; documents in order of first use."""
    members = defaultdict(list)
    for query in sorted(results, key=lambda one: position[one]):
        members[int(group_of[query])].append(query)
    for group, queries in members.items():
        best: dict[int, float] = {}
        for query in queries:
            for name, score in results[query].items():
                best[name] = max(score, best.get(name, score))
        yield group, best
