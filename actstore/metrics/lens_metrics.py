"""The logit-lens metrics: means over tokens of what `lens` computes for each."""

from __future__ import annotations

from actstore.metrics.blocks import LensValues
from actstore.metrics.registry import Metric, register
from actstore.metrics.sums import Sums, mean_of, merge_sums, sums_of


def _entropies(block: LensValues) -> Sums:
    return sums_of(block.entropy)


def _kl_layer_to_final(block: LensValues) -> Sums:
    return sums_of(block.kl_layer_to_final)


def _kl_final_to_layer(block: LensValues) -> Sums:
    return sums_of(block.kl_final_to_layer)


register(
    Metric(
        name="lens_entropy",
        over="lens",
        chunk=_entropies,
        combine=merge_sums,
        finalize=mean_of,
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
        chunk=_kl_layer_to_final,
        combine=merge_sums,
        finalize=mean_of,
        reference="KL(layer || final), as kl_to_final_bits of logos-in-layers; mean over tokens",
        unit="bits",
        description="divergence of the layer's prediction from the final one; 0 at the last layer",
    )
)
register(
    Metric(
        name="lens_kl_final_to_layer",
        over="lens",
        chunk=_kl_final_to_layer,
        combine=merge_sums,
        finalize=mean_of,
        reference="KL(final || layer), as in Belrose et al. 2023, "
        "https://arxiv.org/abs/2303.08112, section 3; mean over tokens",
        unit="bits",
        description="divergence of the final prediction from the layer's; 0 at the last layer",
    )
)
