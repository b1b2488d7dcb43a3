"""Metrics: label-free numbers per checkpoint and layer, computed from the store.

Plain functions on arrays, the registry of what is computed for every layer (`METRICS`), and
`compute_metrics`, which computes and records.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from actstore.metrics import lens, pairs, pooled, tokens, views  # noqa: F401  (they register)
from actstore.metrics.documentation import metrics_page
from actstore.metrics.lens.artefact import artefact_score, raw_against_normed
from actstore.metrics.lens.collapse import (
    copy_collapse,
    entropy_collapse,
    semantic_collapse,
    soft_copy_collapse,
)
from actstore.metrics.lens.control import control_margin, control_summary
from actstore.metrics.lens.decoders import FINAL, RAW, Decoder, NextBlockNorm
from actstore.metrics.lens.fitted.decoder import FittedLens
from actstore.metrics.lens.fitted.translator import Translator
from actstore.metrics.lens.kernel import (
    lens_entropy,
    lens_kl_final_to_layer,
    lens_kl_layer_to_final,
    lens_values,
    token_probabilities,
)
from actstore.metrics.lens.milestones import first_kl_below, first_rank_le, milestones
from actstore.metrics.lens.quantities import QUANTITIES, LensTokens, measure
from actstore.metrics.lens.trajectory import norm_spikes, norm_trajectory
from actstore.metrics.pairs.neighbours import knn_overlap
from actstore.metrics.pairs.similarity import linear_cka, procrustes_distance
from actstore.metrics.pooled.cosines import dispersion, mean_cosine
from actstore.metrics.pooled.covariance import logdet_covariance, spectral_norm
from actstore.metrics.pooled.entropies import dataset_entropy
from actstore.metrics.pooled.harness import (
    lcs_curvature,
    lcs_dataset_entropy,
    lcs_effective_rank,
    lcs_prompt_entropy,
)
from actstore.metrics.pooled.spectral import (
    anisotropy,
    covariance_entropy,
    effective_rank,
    isoscore,
    participation_ratio,
    rankme,
    spectral_slope,
    top_pc_share,
)
from actstore.metrics.pooled.uniform import uniformity
from actstore.metrics.registry import (
    METRICS,
    Metric,
    all_metrics,
    default_metrics,
    list_metrics,
    register,
    resolve_metrics,
)
from actstore.metrics.running.fit_request import LensFitReport, LensFitRequest
from actstore.metrics.running.request import MetricsReport, MetricsRequest
from actstore.metrics.spectra import (
    normalised_entropy,
    renyi_entropy,
    shannon_entropy,
    von_neumann_entropy,
)
from actstore.metrics.tokens.angles import curvature
from actstore.metrics.tokens.dimension import intrinsic_dimension_2nn
from actstore.metrics.tokens.entropy import prompt_entropy
from actstore.metrics.views.lidar import lidar, lidar_entropy
from actstore.metrics.views.two_views import (
    alignment,
    dime,
    infonce,
    knn_stability,
    mutual_information_bound,
)

if TYPE_CHECKING:
    from actstore.metrics.running.fitting import fit_lens
    from actstore.metrics.running.reading import read_lens
    from actstore.metrics.running.runner import compute_metrics

__all__ = [
    "FINAL",
    "METRICS",
    "QUANTITIES",
    "RAW",
    "Decoder",
    "FittedLens",
    "LensFitReport",
    "LensFitRequest",
    "LensTokens",
    "Metric",
    "MetricsReport",
    "MetricsRequest",
    "NextBlockNorm",
    "Translator",
    "alignment",
    "all_metrics",
    "anisotropy",
    "artefact_score",
    "compute_metrics",
    "control_margin",
    "control_summary",
    "copy_collapse",
    "covariance_entropy",
    "curvature",
    "dataset_entropy",
    "default_metrics",
    "dime",
    "dispersion",
    "effective_rank",
    "entropy_collapse",
    "first_kl_below",
    "first_rank_le",
    "fit_lens",
    "infonce",
    "intrinsic_dimension_2nn",
    "isoscore",
    "knn_overlap",
    "knn_stability",
    "lcs_curvature",
    "lcs_dataset_entropy",
    "lcs_effective_rank",
    "lcs_prompt_entropy",
    "lens_entropy",
    "lens_kl_final_to_layer",
    "lens_kl_layer_to_final",
    "lens_values",
    "lidar",
    "lidar_entropy",
    "linear_cka",
    "list_metrics",
    "logdet_covariance",
    "mean_cosine",
    "measure",
    "metrics_page",
    "milestones",
    "mutual_information_bound",
    "norm_spikes",
    "norm_trajectory",
    "normalised_entropy",
    "participation_ratio",
    "procrustes_distance",
    "prompt_entropy",
    "rankme",
    "raw_against_normed",
    "read_lens",
    "register",
    "renyi_entropy",
    "resolve_metrics",
    "semantic_collapse",
    "shannon_entropy",
    "soft_copy_collapse",
    "spectral_norm",
    "spectral_slope",
    "token_probabilities",
    "top_pc_share",
    "uniformity",
    "von_neumann_entropy",
]


_LAZY = {"compute_metrics": "runner", "fit_lens": "fitting", "read_lens": "reading"}
"""What reads a store, and where it is: Dask is loaded with it, plain functions do not need it."""


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"actstore.metrics.running.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'actstore.metrics' has no attribute {name!r}")
