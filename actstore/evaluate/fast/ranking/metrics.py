"""The scores mteb gives for ranked results, from the ranks of the relevant documents.

Every sum is made in the order in which trec_eval, mteb or NumPy makes it, so that all scores are
the same to the last bit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb._evaluators.retrieval_metrics import make_score_dict
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking.abstention import Abstention
from actstore.evaluate.fast.ranking.lists import Ints
from actstore.evaluate.fast.ranking.results import Ranked

Floats = NDArray[np.float64]

_NOT_ABSTAINED = "HitRate"
"""The measure that mteb makes no abstention scores of."""
_NOT_ROUNDED = "MRR"


def scores_of(ranked: Ranked, k_values: Sequence[int]) -> dict[str, Any]:
    """What mteb's `calculate_retrieval_scores` and `make_score_dict` give."""
    means: dict[str, dict[str, float]] = defaultdict(dict)
    abstention, naucs = Abstention(ranked.confidence), {}
    for measure, k, values in measures(ranked, k_values):
        name, mean = f"{measure}@{k}", sum(values.tolist()) / len(values)
        means[measure][name] = mean if measure == _NOT_ROUNDED else round(mean, 5)
        if measure != _NOT_ABSTAINED:
            naucs.update(abstention.scores(name, values))
    scores: dict[str, Any] = make_score_dict(
        ndcg=means["NDCG"],
        _map=means["MAP"],
        recall=means["Recall"],
        precision=means["P"],
        mrr=means["MRR"],
        naucs=naucs,
        naucs_mrr={},
        hit_rate=means["HitRate"],
        task_scores={},
    )
    return scores


def measures(ranked: Ranked, k_values: Sequence[int]) -> Iterator[tuple[str, int, Floats]]:
    """Every measure at every cutoff: its values by query, in order. One at a time, for memory."""
    sums, relevant = _Sums.of(ranked, max(k_values)), np.diff(ranked.starts)
    for k in k_values:
        hits = _hits(ranked, k)
        yield "NDCG", k, _ratio(sums.gains(hits), sums.ideal(k)[ranked.judged_of])
        yield "MAP", k, _ratio(sums.precisions(hits), relevant)
        yield "Recall", k, _ratio(hits, relevant)
        yield "P", k, hits / k
        yield "HitRate", k, (hits > 0).astype(np.float64)
        yield "MRR", k, _ratio((hits > 0).astype(np.float64), sums.first_rank)


def _hits(ranked: Ranked, k: int) -> Ints:
    """(query,) how many relevant documents are among the first k."""
    before = np.append(0, np.cumsum(ranked.ranks <= k))
    return np.diff(before[ranked.starts])


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    """0 where the bottom is 0."""
    return np.asarray(np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0))


@dataclass(frozen=True)
class _Sums:
    """Sums over the relevant documents of each query up to each of them, best first."""

    starts: Ints
    discounted: Floats
    """Gains, each divided by the logarithm of its rank."""
    precise: Floats
    """The precision at each relevant document."""
    first_rank: Ints
    """(query,) of its best relevant document, 0 if it has none."""
    judged_starts: Ints
    ideals: Floats
    """As `discounted`, of the best order there is, for each list of judgements."""

    @classmethod
    def of(cls, ranked: Ranked, max_k: int) -> _Sums:
        discounts = np.array([1.0, *(math.log2(rank + 1) for rank in range(1, max_k + 1))])
        ranks = np.where(ranked.ranks <= max_k, ranked.ranks, 0)  # those behind are never asked for
        nth = np.arange(len(ranks)) - np.repeat(ranked.starts[:-1], np.diff(ranked.starts))
        lists = ranked.positives.lists
        best = _best_first(ranked.positives.gains, lists.offsets)
        return cls(
            starts=ranked.starts,
            discounted=_running_sums(ranked.gains / discounts[ranks], ranked.starts),
            precise=_running_sums((nth + 1) / np.maximum(ranks, 1), ranked.starts),
            first_rank=_first(ranks, ranked.starts),
            judged_starts=lists.offsets,
            ideals=_running_sums(best / _by_place(discounts, lists.offsets), lists.offsets),
        )

    def gains(self, hits: Ints) -> Floats:
        """(query,) sums over its first relevant documents, as many as `hits` says."""
        return _up_to(self.discounted, self.starts, hits)

    def precisions(self, hits: Ints) -> Floats:
        return _up_to(self.precise, self.starts, hits)

    def ideal(self, k: int) -> Floats:
        """(judgements,) the most that `gains` can be."""
        n = np.minimum(np.diff(self.judged_starts), k)
        return _up_to(self.ideals, self.judged_starts, n)


def _up_to(sums: Floats, starts: Ints, counts: Ints) -> Floats:
    if not len(sums):
        return np.zeros(len(counts))
    return np.where(counts > 0, sums[starts[:-1] + counts - 1], 0.0)


def _running_sums(terms: Floats, starts: Ints) -> Floats:
    """Sums from each start, one term after the other: np.cumsum would not begin anew."""
    sums, sizes = terms.copy(), np.diff(starts)
    longest = np.argsort(-sizes, kind="stable")
    for nth in range(1, int(sizes.max(initial=0))):
        at = starts[longest[: np.count_nonzero(sizes > nth)]] + nth
        sums[at] += sums[at - 1]
    return sums


def _first(values: NDArray[Any], starts: Ints) -> Ints:
    some = np.flatnonzero(np.diff(starts))
    first = np.zeros(len(starts) - 1, np.int64)
    first[some] = values[starts[some]]
    return first


def _best_first(gains: Ints, offsets: Ints) -> Ints:
    of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return gains[np.lexsort([-gains, of])]


def _by_place(discounts: Floats, offsets: Ints) -> Floats:
    """The discount of each document if it came at its place of the list."""
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    return np.take(discounts, place + 1, mode="clip")
