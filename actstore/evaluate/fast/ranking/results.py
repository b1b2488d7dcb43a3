"""Where the relevant documents of each query come among its candidates, and how sure the model was.

mteb keeps a dictionary of scores for each query; from here on it is needed no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from mteb._evaluators.retrieval_metrics import confidence_scores

from actstore.evaluate.fast.ranking.blocks import NEVER, Codes, Confidence
from actstore.evaluate.fast.ranking.lists import Ints, ranges
from actstore.evaluate.fast.ranking.places import Positives


@dataclass(frozen=True)
class Ranked:
    """Results of queries, or of groups of them."""

    judged_of: Codes
    """(query,) its judgements."""
    positives: Positives
    starts: Ints
    """(query + 1,) where each query's relevant documents begin in the next two."""
    ranks: Codes
    """From 1, ascending for each query; NEVER for what was not retrieved."""
    gains: Ints
    confidence: Confidence
    """(query,) `max`, `std` and `diff1` of its scores, as mteb names them."""

    @classmethod
    def empty(cls, judged_of: Codes, positives: Positives) -> Self:
        """Nothing retrieved yet."""
        items, starts = ranges(positives.lists.offsets, judged_of)
        nothing = {name: np.zeros(len(judged_of)) for name in ("max", "std", "diff1")}
        ranks = np.full(len(items), NEVER, np.int32)
        return cls(judged_of, positives, starts, ranks, positives.gains[items], nothing)

    def put(self, queries: Ints, ranks: Codes, confidence: Confidence) -> None:
        """Results of queries with equally many relevant documents.

        ranks: (query, relevant document), in the order of the judgements.
        """
        at = self.starts[queries][:, None] + np.arange(ranks.shape[1])
        order = np.argsort(ranks, axis=1, kind="stable")
        self.ranks[at] = np.take_along_axis(ranks, order, axis=1)
        self.gains[at] = np.take_along_axis(self.gains[at], order, axis=1)
        for name, values in confidence.items():
            self.confidence[name][queries] = values

    def put_scores(self, query: int, scores: Mapping[int, float], id_rank: Codes) -> None:
        """The results of one query as mteb keeps them: rank of identifier -> score, in order."""
        ordered = sorted(scores, key=lambda one: (scores[one], one), reverse=True)
        rank_of = {one: rank for rank, one in enumerate(ordered, 1)}
        wanted = self.positives.lists.of(int(self.judged_of[query]))
        names = np.where(wanted < 0, -1, id_rank[wanted])
        ranks = np.array([[rank_of.get(name, NEVER) for name in names.tolist()]], np.int32)
        confidence = confidence_scores(list(scores.values()))
        one = {name: np.array([value]) for name, value in confidence.items()}
        self.put(np.array([query]), ranks, one)
