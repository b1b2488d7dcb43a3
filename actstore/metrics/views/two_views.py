"""Metrics of two views of each text: how near they are, and how surely one tells the other.

Views 0 and 1 are taken. Texts of which one of them is zero have no direction and are left out.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, ViewsBlock
from actstore.metrics.paired import (
    PairRows,
    directions,
    merge_pair_rows,
    neighbour_overlap,
    pair_rows,
)
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import von_neumann_entropy
from actstore.metrics.statistics import PerText, itself, mean_of, merge_per_text, per_text

Contrast: TypeAlias = Literal["two-sided", "one-sided"]

_BLOCK = 512
"""Rows that are compared with all others at once."""


def infonce(
    a: Floats,
    b: Floats,
    *,
    temperature: float = 0.1,
    normalise: bool = False,
    variant: Contrast = "two-sided",
) -> float:
    """Mean cross-entropy in nats of finding a text's other view among the views of all texts.

    a, b: (text, hidden), two views of each text, any float dtype. 0 or more. "two-sided": each of
    the 2n views looks for its partner among the 2n - 1 others (NT-Xent). "one-sided": each of a
    looks among the n of b. The logits are inner products by temperature, of the states as they are;
    normalise: of their directions, so that they are cosines. NaN for fewer than two texts.
    Takes time n^2 hidden; memory 1024 n, not n^2.
    Source: one-sided: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; two-sided: Chen
    et al. 2020, https://arxiv.org/abs/2002.05709. Skean et al. 2025,
    https://arxiv.org/abs/2502.02013, have temperature 0.1 and do not normalise; of their code the
    older version is two-sided, the newer one-sided.
    """
    return _infonce(_pair(a, b), temperature, normalise, variant)


def mutual_information_bound(
    a: Floats, b: Floats, *, temperature: float = 0.1, normalise: bool = False
) -> float:
    """Lower bound in nats on the mutual information of two views: ln n - one-sided InfoNCE.

    a, b: (text, hidden). At most ln n; below 0 it says nothing. Divided by ln n it is what the
    Layer by Layer code calls its lower bound. NaN for fewer than two texts.
    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, section 2.3.
    """
    pair = _pair(a, b)
    return float(np.log(max(pair.n, 1)) - _infonce(pair, temperature, normalise, "one-sided"))


def dime(a: Floats, b: Floats, *, seed: int = 0, n_permutations: int = 10) -> float:
    """Difference of matrix-based entropies of two views, shuffled and as they belong, in nats.

    The entropy of K_a o P K_b P^T, averaged over random permutations P of the texts, less that of
    K_a o K_b. K = X X^T are Gram matrices over texts, of the states as they are, however many
    texts there are (the Layer by Layer code permutes dimensions where n > hidden); each product is
    scaled to trace 1 and its entropy is von Neumann's. a, b: (text, hidden), any float dtypes.
    -ln n .. ln n; high if views tell texts apart. The permutations depend on seed and n alone.
    NaN for fewer than two texts. Takes memory n^2 and (n_permutations + 1) eigenvalue problems of
    size n.
    Source: Skean et al. 2023, https://arxiv.org/abs/2301.08164, with linear kernels and alpha = 1
    as Skean et al. 2025, https://arxiv.org/abs/2502.02013, have them.
    """
    return _dime(_pair(a, b), seed, n_permutations)


def alignment(a: Floats, b: Floats) -> float:
    """Mean squared distance of the directions of two views of a text: 0 (the same) .. 4 (opposite).

    a, b: (text, hidden), any float dtype. Texts of which one view is zero are left out. NaN if no
    text is left. Source: Wang & Isola 2020, https://arxiv.org/abs/2005.10242, alpha = 2.
    """
    return mean_of(per_text(np.arange(len(a)), _alignments(a, b)))


def knn_stability(a: Floats, b: Floats, k: int = 10) -> float:
    """Mean Jaccard index of a text's k nearest texts by cosine in two views: 0 .. 1.

    a, b: (text, hidden of each), any float dtypes. As `knn_overlap`, of views. NaN for fewer than
    two texts.
    """
    return neighbour_overlap(_pair(a, b), k, "jaccard")


def _pair(a: Floats, b: Floats) -> PairRows:
    return pair_rows(np.arange(len(a)), a, b)


def _two_views(block: ViewsBlock) -> PairRows:
    return pair_rows(block.rows, block.states[:, 0], block.states[:, 1])


def _infonce(pair: PairRows, temperature: float, normalise: bool, variant: Contrast) -> float:
    if pair.degenerate:
        return float("nan")
    a, b = (directions(x) if normalise else x.astype(np.float64) for x in _states(pair))
    if variant == "one-sided":
        return _cross_entropy(a, b, np.arange(pair.n), temperature, others_only=False)
    views = np.concatenate([a, b])
    partners = np.roll(np.arange(2 * pair.n), pair.n)
    return _cross_entropy(views, views, partners, temperature, others_only=True)


def _cross_entropy(
    queries: NDArray[np.float64],
    keys: NDArray[np.float64],
    partners: NDArray[np.int64],
    temperature: float,
    *,
    others_only: bool,
) -> float:
    """Mean of -ln softmax of each query's partner; others_only: no query finds itself."""
    losses = []
    for start in range(0, len(queries), _BLOCK):
        logits = queries[start : start + _BLOCK] @ keys.T / temperature
        own = np.arange(len(logits))
        if others_only:
            logits[own, start + own] = -np.inf
        highest = logits.max(axis=1)
        spread = np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        losses.append(highest - logits[own, partners[start + own]] + spread)
    return float(np.concatenate(losses).mean())


def _dime(pair: PairRows, seed: int, n_permutations: int) -> float:
    if pair.degenerate:
        return float("nan")
    a, b = (wide @ wide.T for wide in (x.astype(np.float64) for x in _states(pair)))
    rng = np.random.default_rng(seed)
    shuffled = []
    for _ in range(n_permutations):
        order = rng.permutation(pair.n)
        shuffled.append(von_neumann_entropy(a * b[np.ix_(order, order)]))
    return float(np.mean(shuffled) - von_neumann_entropy(a * b))


def _states(pair: PairRows) -> tuple[Floats, Floats]:
    return pair.states, pair.against


def _alignments(a: Floats, b: Floats) -> NDArray[np.float64]:
    """(text,): squared distance of its views' directions; NaN where one has none."""
    values = np.full(len(a), np.nan)
    pair = pair_rows(np.arange(len(a)), a, b)
    finite = np.isfinite(pair.states).all(axis=1) & np.isfinite(pair.against).all(axis=1)
    steps = directions(pair.states[finite]) - directions(pair.against[finite])
    values[pair.rows[finite]] = np.einsum("ij,ij->i", steps, steps)
    return values


def _alignment_of_texts(block: ViewsBlock) -> PerText:
    return per_text(block.rows, _alignments(block.states[:, 0], block.states[:, 1]))


register(
    Metric(
        name="infonce",
        formula="-\\frac{1}{2n} \\sum_i \\ln \\frac{\\exp(z_i^\\top z_{p(i)} / \\tau)}"
        "{\\sum_{k \\ne i} \\exp(z_i^\\top z_k / \\tau)},\\ \\tau = 0.1",
        range="0 ..",
        cost="4 n^2 d",
        invariant_to=frozenset({"rotation"}),
        over="views",
        all_pairs=True,
        chunk=_two_views,
        combine=merge_pair_rows,
        finalize=partial(_infonce, temperature=0.1, normalise=False, variant="two-sided"),
        reference="Chen et al. 2020, https://arxiv.org/abs/2002.05709 (NT-Xent); temperature 0.1, "
        "not normalised, as Skean et al. 2025, https://arxiv.org/abs/2502.02013",
        unit="nats",
        description="loss of finding a text's other view among all views of all texts",
    )
)
register(
    Metric(
        name="infonce_one_sided",
        formula="-\\frac{1}{n} \\sum_i \\ln \\frac{\\exp(a_i^\\top b_i / \\tau)}"
        "{\\sum_k \\exp(a_i^\\top b_k / \\tau)},\\ \\tau = 0.1",
        range="0 ..",
        cost="n^2 d",
        invariant_to=frozenset({"rotation"}),
        over="views",
        all_pairs=True,
        chunk=_two_views,
        combine=merge_pair_rows,
        finalize=partial(_infonce, temperature=0.1, normalise=False, variant="one-sided"),
        reference="van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; temperature 0.1, "
        "not normalised, as Skean et al. 2025, https://arxiv.org/abs/2502.02013",
        unit="nats",
        description="loss of finding a text's second view among those of all texts",
    )
)
register(
    Metric(
        name="dime",
        formula="\\mathrm{mean}_P\\, S(K_a \\circ P K_b P^\\top) - S(K_a \\circ K_b)",
        range="-ln(n) .. ln(n)",
        cost="11 n^3",
        invariant_to=frozenset({"rotation", "scaling"}),
        over="views",
        all_pairs=True,
        chunk=_two_views,
        combine=merge_pair_rows,
        finalize=partial(_dime, seed=0, n_permutations=10),
        reference="Skean et al. 2023, https://arxiv.org/abs/2301.08164; linear kernels over texts, "
        "trace 1, alpha = 1, raw, 10 permutations of seed 0",
        unit="nats",
        description="how much entropy two views share: that of shuffled texts less the true one",
    )
)
register(
    Metric(
        name="alignment",
        formula="\\frac{1}{n} \\sum_i \\|a_i / |a_i| - b_i / |b_i|\\|^2",
        range="0 .. 4",
        cost="n d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="views",
        chunk=_alignment_of_texts,
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="Wang & Isola 2020, https://arxiv.org/abs/2005.10242; alpha = 2",
        unit="squared distance",
        description="mean squared distance of two views' directions: 0 (the same) to 4",
    )
)
register(
    Metric(
        name="knn_stability",
        formula="\\frac{1}{n} \\sum_i |N_i \\cap M_i| / |N_i \\cup M_i|,\\ k = 10",
        range="0 .. 1",
        cost="n^2 d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="views",
        all_pairs=True,
        chunk=_two_views,
        combine=merge_pair_rows,
        finalize=partial(neighbour_overlap, k=10, measure="jaccard"),
        reference="https://github.com/MahdiarKhodabakhshi/temporal-depth-representations; Jaccard "
        "index, k = 10, cosine",
        unit="share",
        description="Jaccard index of each text's 10 nearest texts in two views: 0 to 1",
    )
)
