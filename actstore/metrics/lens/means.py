"""The logit-lens metrics: means over tokens of what the lens says of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actstore.metrics.blocks import Floats, LensBlock
from actstore.metrics.registry import Metric, register
from actstore.metrics.statistics import PerText, itself, mean_of, merge_per_text, per_token

_DECODED = "the lens asked for (its norm: final, unless said otherwise) and the whole head program"
_GOLD = "gold is the text's next token"


def lens_mean(
    name: str,
    quantity: str,
    *,
    formula: str,
    bounds: str,
    unit: str,
    reference: str,
    description: str,
    cost: str = "d V a token",
    number: Callable[[Floats], Floats] | None = None,
    if_named: bool = False,
) -> Metric[LensBlock, PerText]:
    """Registers the mean over tokens of a quantity, or of a number made of it.

    bounds: the metric's range. number: of (token,) values; keeps NaN where they are NaN.
    """

    def chunk(block: LensBlock) -> PerText:
        values = block.values[quantity]
        return per_token(block.rows, block.spans, values if number is None else number(values))

    return register(
        Metric(
            name=name,
            over="lens",
            chunk=chunk,
            combine=merge_per_text,
            finalize=mean_of,
            per_text=itself,
            description=description,
            formula=formula,
            range=bounds,
            unit=unit,
            reference=f"{reference}; {_DECODED}; mean over tokens",
            cost=cost,
            quantities=(quantity,),
            if_named=if_named,
        )
    )


def rank_within(k: int) -> Callable[[Floats], Floats]:
    """1 where a rank is at most k, else 0; NaN where there is no rank."""

    def within(rank: Floats) -> Floats:
        return np.where(np.isnan(rank), np.nan, rank <= k)

    return within


lens_mean(
    "lens_entropy",
    "entropy_bits",
    formula="-\\sum_v P_\\ell(v) \\log_2 P_\\ell(v)",
    bounds="0 .. log2(vocabulary)",
    unit="bits",
    reference="nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru",
    description="entropy of what the layer predicts: 0 to log2(vocabulary)",
)
lens_mean(
    "lens_kl_layer_to_final",
    "kl_layer_to_final_bits",
    formula="\\sum_v P_\\ell(v) \\log_2 (P_\\ell(v) / P_L(v))",
    bounds="0 ..",
    unit="bits",
    reference="KL(layer || final), as kl_to_final_bits of logos-in-layers",
    description="divergence of the layer's prediction from the final one; 0 at the last layer",
)
lens_mean(
    "lens_kl_final_to_layer",
    "kl_final_to_layer_bits",
    formula="\\sum_v P_L(v) \\log_2 (P_L(v) / P_\\ell(v))",
    bounds="0 ..",
    unit="bits",
    reference="KL(final || layer), as in Belrose et al. 2023, https://arxiv.org/abs/2303.08112, "
    "section 3",
    description="divergence of the final prediction from the layer's; 0 at the last layer",
)
lens_mean(
    "lens_js",
    "js_bits",
    formula="\\tfrac12 D(P_\\ell \\| M) + \\tfrac12 D(P_L \\| M),\\ M = (P_\\ell + P_L) / 2",
    bounds="0 .. 1",
    unit="bits",
    reference="Lin 1991, https://doi.org/10.1109/18.61115, with equal weights; the divergence, not "
    "its square root",
    description="Jensen-Shannon divergence between the layer's prediction and the final one",
    cost="2 d V a token: a second walk over the vocabulary",
    if_named=True,
)
lens_mean(
    "lens_cross_entropy",
    "cross_entropy_bits",
    formula="-\\log_2 P_\\ell(\\mathrm{gold})",
    bounds="0 ..",
    unit="bits",
    reference=f"{_GOLD}: at the last layer the model's own loss, in bits a token",
    description="cross-entropy of the layer's prediction with the next token",
)
lens_mean(
    "lens_p_top1",
    "p_top1",
    formula="\\max_v P_\\ell(v)",
    bounds="0 .. 1",
    unit="probability",
    reference="p_top1 of logos-in-layers",
    description="probability of the token the layer thinks most likely",
)
lens_mean(
    "lens_p_top5",
    "p_top5",
    formula="\\sum_{i=1}^{5} P_\\ell(v_i),\\ P_\\ell(v_1) \\ge P_\\ell(v_2) \\ge \\dots",
    bounds="0 .. 1",
    unit="probability",
    reference="p_top5 of logos-in-layers",
    description="probability of the five tokens the layer thinks most likely",
)
lens_mean(
    "lens_p_gold",
    "p_gold",
    formula="P_\\ell(\\mathrm{gold})",
    bounds="0 .. 1",
    unit="probability",
    reference=f"p_answer of logos-in-layers, where {_GOLD}",
    description="probability of the next token",
)
lens_mean(
    "lens_gold_rank",
    "gold_rank",
    formula="1 + |\\{v : z_\\ell(v) > z_\\ell(\\mathrm{gold})\\}|",
    bounds="1 .. vocabulary",
    unit="rank",
    reference=f"answer_rank of logos-in-layers, where {_GOLD}; ties favour it",
    description="rank of the next token; heavy-tailed: few tokens make most of this mean",
)
_IS_ANSWER = " (is_answer: semantic collapse)"
for _k in (1, 5, 10):
    lens_mean(
        f"lens_gold_top{_k}",
        "gold_rank",
        formula=f"[1 + |\\{{v : z_\\ell(v) > z_\\ell(\\mathrm{{gold}})\\}}| \\le {_k}]",
        bounds="0 .. 1",
        unit="share",
        reference=f"answer_rank <= {_k} of logos-in-layers{_IS_ANSWER if _k == 1 else ''}, where "
        f"{_GOLD}; ties favour it",
        description=f"share of tokens whose next token ranks {_k} or better",
        number=rank_within(_k),
    )
lens_mean(
    "lens_top1_is_final",
    "top1_is_final",
    formula="[\\arg\\max_v z_\\ell(v) = \\arg\\max_v z_L(v)]",
    bounds="0 .. 1",
    unit="share",
    reference="agreement of ids; of equal logits the smaller id counts",
    description="share of tokens at which the layer's most likely token is the final one; 1 at the "
    "last layer",
)
lens_mean(
    "lens_cos_to_final",
    "cos_to_final",
    formula="\\cos(W_U n_\\ell, W_U n_L),\\ n_\\ell = \\mathrm{norm}(h_\\ell)",
    bounds="-1 .. 1",
    unit="cosine",
    reference="cos_to_final of logos-in-layers: of logits without bias, scale and soft cap",
    description="cosine between the layer's logits and the final ones; 1 at the last layer",
)
lens_mean(
    "lens_residual_norm",
    "resid_norm",
    formula="\\|h_\\ell\\|_2",
    bounds="0 ..",
    unit="length",
    reference="raw_resid_norm of logos-in-layers",
    description="Euclidean length of the residual, before any norm",
    cost="d a token",
)
