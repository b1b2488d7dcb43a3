"""Metrics: label-free numbers per checkpoint and layer, computed from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actstore.metrics.lens import means  # noqa: F401  (registers the logit-lens metrics)
from actstore.metrics.lens.kernel import (
    lens_entropy,
    lens_kl_final_to_layer,
    lens_kl_layer_to_final,
    lens_values,
)
from actstore.metrics.pooled.spectral import (
    dataset_entropy,
    effective_rank,
    mean_cosine,
    participation_ratio,
    top_pc_share,
)
from actstore.metrics.registry import (
    METRICS,
    Metric,
    all_metrics,
    list_metrics,
    register,
    resolve_metrics,
)
from actstore.metrics.running.request import MetricsReport, MetricsRequest
from actstore.metrics.spectra import shannon_entropy, von_neumann_entropy
from actstore.metrics.tokens.texts import curvature, prompt_entropy

if TYPE_CHECKING:
    from actstore.metrics.running.runner import compute_metrics

__all__ = [
    "METRICS",
    "Metric",
    "MetricsReport",
    "MetricsRequest",
    "all_metrics",
    "compute_metrics",
    "curvature",
    "dataset_entropy",
    "effective_rank",
    "lens_entropy",
    "lens_kl_final_to_layer",
    "lens_kl_layer_to_final",
    "lens_values",
    "list_metrics",
    "mean_cosine",
    "participation_ratio",
    "prompt_entropy",
    "register",
    "resolve_metrics",
    "shannon_entropy",
    "top_pc_share",
    "von_neumann_entropy",
]


def __getattr__(name: str) -> object:
    """Load Dask only with the runner: the plain functions do not need it."""
    if name == "compute_metrics":
        from actstore.metrics.running.runner import compute_metrics

        return compute_metrics
    raise AttributeError(f"module 'actstore.metrics' has no attribute {name!r}")
