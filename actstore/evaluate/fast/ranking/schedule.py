"""Which queries are ranked together.

A block has queries with equally many candidates and equally many relevant documents, and whole
groups. Few queries fit no block: those are ranked one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking.lists import Ints
from actstore.evaluate.fast.ranking.places import Codes
from actstore.evaluate.fast.ranking.plan import Groups, RankingPlan

_SCORES_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Schedule:
    """All queries with candidates; those without have no results."""

    blocks: list[Ints]
    """Queries with the same candidates, and of the same group, come one after the other."""
    single: Ints
    """Queries with candidates named twice, or more than are kept, or merged with such or with
    queries of other candidates or judgements; those with the same candidates come together."""
    judged_of_group: Codes
    """(group,) the judgements of its last query, which mteb takes for all."""


def make_schedule(plan: RankingPlan, top_k: int) -> Schedule:
    """top_k: how many candidates are kept."""
    n_candidates = plan.candidates.sizes()[plan.list_of]
    single = plan.repeats[plan.list_of] | (n_candidates > top_k)
    if plan.groups is not None:
        single = _mixed(plan.groups, plan.places.of_query, single)[plan.groups.of_query]
    alone = np.flatnonzero(single)
    by_list = np.argsort(plan.list_of[alone], kind="stable")
    blocks = _blocks(plan, np.flatnonzero(~single & (n_candidates > 0)))
    return Schedule(blocks, alone[by_list], _judged_of_group(plan))


def _mixed(groups: Groups, pair_of: Ints, single: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(group,) whether its queries cannot be merged as rows of one block."""
    one_pair = np.empty(groups.n, np.int64)
    one_pair[groups.of_query] = pair_of
    unlike = single | (pair_of != one_pair[groups.of_query])
    return np.isin(np.arange(groups.n), groups.of_query[unlike])


def _judged_of_group(plan: RankingPlan) -> Codes:
    if plan.groups is None:
        return np.empty(0, np.int32)
    judged_of, order = np.empty(plan.groups.n, np.int32), np.argsort(plan.groups.position)
    judged_of[plan.groups.of_query[order]] = plan.judged_of[order]
    return judged_of


def _blocks(plan: RankingPlan, queries: Ints) -> list[Ints]:
    sizes = plan.candidates.sizes()[plan.list_of]
    shape = np.stack([sizes, plan.positives.lists.sizes()[plan.judged_of]])
    if plan.groups is None:
        within = [queries, plan.list_of[queries]]
    else:
        groups = plan.groups
        within = [groups.position[queries], groups.of_query[queries], plan.list_of[queries]]
    queries = queries[np.lexsort([*within, *shape[:, queries]])]
    new_shape = np.any(_changes(shape[:, queries]), axis=0)
    whole = queries if plan.groups is None else plan.groups.of_query[queries]
    begins = np.flatnonzero(_changes(whole) | new_shape)
    before = np.cumsum(sizes[queries]) - sizes[queries]
    full = _changes(before[begins] // _SCORES_AT_ONCE)
    return [one for one in np.split(queries, begins[full | new_shape[begins]]) if len(one)]


def _changes(values: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Whether each value along the last axis is another one than that before it."""
    return np.asarray(np.diff(values, axis=-1, prepend=-1) != 0)
