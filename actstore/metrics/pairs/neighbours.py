"""Whether texts have the same nearest texts in two arrays."""

from __future__ import annotations

from functools import partial

import numpy as np

from actstore.metrics.blocks import Floats, PairBlock
from actstore.metrics.paired import Overlap, PairRows, merge_pair_rows, neighbour_overlap, pair_rows
from actstore.metrics.registry import Metric, register


def knn_overlap(
    states: Floats, against: Floats, k: int = 10, *, measure: Overlap = "jaccard"
) -> float:
    """How far rows have the same k nearest others by cosine in two arrays: 0 .. 1, mean over rows.

    states: (row, hidden), against: (row, hidden of the other), any float dtypes; the widths may
    differ. measure: "jaccard", the common neighbours by the size of both sets' union, or "mutual",
    by k. Exactly 1 for an array against itself. Rows that are zero in one of them have no cosine
    and are left out. Of others that are equally near the first are taken. Where there are fewer
    than k + 2 rows, k is the number of rows less 2. NaN for fewer than two rows.
    Takes time n^2 hidden; memory 512 n, not n^2.
    Source: "mutual" is Huh et al. 2024, https://arxiv.org/abs/2405.07987 (mutual nearest-neighbour
    alignment); "jaccard" is what TDR's code measures between views and checkpoints.
    """
    return neighbour_overlap(pair_rows(np.arange(len(states)), states, against), k, measure)


def _pair_rows(block: PairBlock) -> PairRows:
    return pair_rows(block.rows, block.states, block.against)


register(
    Metric(
        name="knn_overlap",
        formula="\\frac{1}{n} \\sum_i |N_i \\cap M_i| / |N_i \\cup M_i|,\\ k = 10",
        range="0 .. 1",
        cost="n^2 d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pairs",
        all_pairs=True,
        chunk=_pair_rows,
        combine=merge_pair_rows,
        finalize=partial(neighbour_overlap, k=10, measure="jaccard"),
        reference="https://github.com/MahdiarKhodabakhshi/temporal-depth-representations; Jaccard "
        "index, k = 10, cosine",
        unit="share",
        description="Jaccard index of each text's 10 nearest texts in two layers: 0 to 1",
    )
)
register(
    Metric(
        name="mutual_knn",
        formula="\\frac{1}{n} \\sum_i |N_i \\cap M_i| / k,\\ k = 10",
        range="0 .. 1",
        cost="n^2 d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pairs",
        all_pairs=True,
        chunk=_pair_rows,
        combine=merge_pair_rows,
        finalize=partial(neighbour_overlap, k=10, measure="mutual"),
        reference="Huh et al. 2024, https://arxiv.org/abs/2405.07987; k = 10, cosine",
        unit="share",
        description="share of each text's 10 nearest texts that two layers have in common: 0 to 1",
    )
)
