"""The logit-lens metrics: means over tokens of what `lens` computes for each."""

from __future__ import annotations

from collections.abc import Callable

from actstore.metrics.blocks import LensBlock
from actstore.metrics.registry import Metric, register
from actstore.metrics.statistics import PerText, itself, mean_of, merge_per_text, per_token


def _of(quantity: str) -> Callable[[LensBlock], PerText]:
    """A chunk that takes one quantity of every token."""

    def chunk(block: LensBlock) -> PerText:
        return per_token(block.rows, block.spans, block.values[quantity])

    return chunk


register(
    Metric(
        name="lens_entropy",
        formula="-\\sum_v P_\\ell(v) \\log_2 P_\\ell(v)",
        range="0 .. log2(vocabulary)",
        cost="d V a token",
        quantities=("entropy_bits",),
        over="lens",
        chunk=_of("entropy_bits"),
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru; final "
        "norm and whole head program; mean over tokens",
        unit="bits",
        description="entropy of what the layer predicts: 0 to log2(vocabulary)",
    )
)
register(
    Metric(
        name="lens_kl_layer_to_final",
        formula="\\sum_v P_\\ell(v) \\log_2 (P_\\ell(v) / P_L(v))",
        range="0 ..",
        cost="d V a token",
        quantities=("kl_layer_to_final_bits",),
        over="lens",
        chunk=_of("kl_layer_to_final_bits"),
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="KL(layer || final), as kl_to_final_bits of logos-in-layers; mean over tokens",
        unit="bits",
        description="divergence of the layer's prediction from the final one; 0 at the last layer",
    )
)
register(
    Metric(
        name="lens_kl_final_to_layer",
        formula="\\sum_v P_L(v) \\log_2 (P_L(v) / P_\\ell(v))",
        range="0 ..",
        cost="d V a token",
        quantities=("kl_final_to_layer_bits",),
        over="lens",
        chunk=_of("kl_final_to_layer_bits"),
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference="KL(final || layer), as in Belrose et al. 2023, "
        "https://arxiv.org/abs/2303.08112, section 3; mean over tokens",
        unit="bits",
        description="divergence of the final prediction from the layer's; 0 at the last layer",
    )
)
