"""The logit-lens metrics: means over tokens of what `lens` computes for each."""

from __future__ import annotations

from actstore.metrics.lens import LensSums, lens_sums, merge_lens_sums
from actstore.metrics.registry import Metric, register


def _entropy(stats: LensSums) -> float:
    return _mean(stats, 0)


def _kl_layer_to_final(stats: LensSums) -> float:
    return _mean(stats, 1)


def _kl_final_to_layer(stats: LensSums) -> float:
    return _mean(stats, 2)


def _mean(stats: LensSums, which: int) -> float:
    return float(stats.totals[which]) / stats.n if stats.n else float("nan")


register(
    Metric(
        name="lens_entropy",
        over="lens",
        chunk=lens_sums,
        combine=merge_lens_sums,
        finalize=_entropy,
        reference="nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru; final "
        "norm and whole head program; mean over tokens",
        unit="bits",
        description="entropy of what the layer predicts: 0 to log2(vocabulary)",
    )
)
register(
    Metric(
        name="lens_kl_layer_to_final",
        over="lens",
        chunk=lens_sums,
        combine=merge_lens_sums,
        finalize=_kl_layer_to_final,
        reference="KL(layer || final), as kl_to_final_bits of logos-in-layers; mean over tokens",
        unit="bits",
        description="divergence of the layer's prediction from the final one; 0 at the last layer",
    )
)
register(
    Metric(
        name="lens_kl_final_to_layer",
        over="lens",
        chunk=lens_sums,
        combine=merge_lens_sums,
        finalize=_kl_final_to_layer,
        reference="KL(final || layer), as in Belrose et al. 2023, "
        "https://arxiv.org/abs/2303.08112, section 3; mean over tokens",
        unit="bits",
        description="divergence of the final prediction from the layer's; 0 at the last layer",
    )
)
