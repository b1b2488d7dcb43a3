"""Finding the best checkpoint and layer while scoring few of them."""

from actstore.search.arms import Arms, make_arms
from actstore.search.objective import Objective, one_task, suite_mean, z_score
from actstore.search.replay import Look, Replay, Table, replay, score_table, searching
from actstore.search.searching import Costs, Proposal, Search, SearchSettings, Standing

__all__ = [
    "Arms",
    "Costs",
    "Look",
    "Objective",
    "Proposal",
    "Replay",
    "Search",
    "SearchSettings",
    "Standing",
    "Table",
    "make_arms",
    "one_task",
    "replay",
    "score_table",
    "searching",
    "suite_mean",
    "z_score",
]
