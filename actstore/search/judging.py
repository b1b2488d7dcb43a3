"""How well a rating of arms agrees with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import ndcg_score

from actstore.errors import InvalidInputError


@dataclass(frozen=True)
class Agreement:
    """Of one rule, over the arms that it rates and that are scored."""

    n: int
    """Such arms."""
    gap: float
    """By how much the arm it rates highest falls short of the best of all."""
    spearman: float
    kendall: float
    ndcg: Mapping[int, float]
    """NDCG@k: of scores shifted so that the lowest is 0."""
    hits: Mapping[int, bool]
    """Hit@k: whether the best of all is among the k rated highest."""


def agreement(
    rated: pd.Series[float], scores: pd.Series[float], ks: tuple[int, ...] = (1, 5, 10)
) -> Agreement:
    """Both with the index checkpoint, layer; NaN where there is none.

    The best arm is that of all scores, also where the rule does not rate it. Raises
    InvalidInputError for fewer than two arms that have both.
    """
    both = pd.DataFrame({"rated": rated, "score": scores}).dropna()
    if len(both) < 2:
        raise InvalidInputError(
            f"{len(both)} arms have a rating and a score: a rule is judged by two or more."
        )
    order = both["rated"].sort_values(ascending=False, kind="stable").index
    best = scores.idxmax()
    relevance = (both["score"] - both["score"].min()).to_numpy()[None]
    guess = both["rated"].to_numpy()[None]
    return Agreement(
        n=len(both),
        gap=float(scores.max() - scores[order[0]]),
        spearman=_rank_correlation(spearmanr, both),
        kendall=_rank_correlation(kendalltau, both),
        ndcg={k: float(ndcg_score(relevance, guess, k=k)) for k in ks},
        hits={k: best in order[:k] for k in ks},
    )


def _rank_correlation(function: object, both: pd.DataFrame) -> float:
    """NaN where either side is all equal: no order is no correlation."""
    if both.nunique().min() < 2:
        return float("nan")
    assert callable(function)
    return float(np.asarray(function(both["rated"], both["score"]).statistic))
