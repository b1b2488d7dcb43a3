"""Metrics of pooled rows that measure how large their covariance is, in the states' own unit."""

from __future__ import annotations

from functools import partial

import numpy as np

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.moments import Moments, merge_moments, moments
from actstore.metrics.registry import Metric, register


def spectral_norm(states: Floats) -> float:
    """Largest eigenvalue of the rows' covariance: the variance along the first principal axis.

    states: (row, hidden), any float dtype. In squared units of the states, above 0; the covariance
    has rows - 1 below. NaN for one row or constant rows.
    Source: `compute_representation_metrics` of
    https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search, there of unit rows.
    """
    return _spectral_norm(moments(PooledBlock.of(states)))


def logdet_covariance(states: Floats, *, epsilon: float = 1e-10) -> float:
    """ln det(C + epsilon I) of the rows' covariance C, by its eigenvalues: always finite.

    states: (row, hidden), any float dtype. epsilon: in squared units of the states. With no more
    rows than dimensions, or dimensions that do not vary, C is singular: each missing direction
    counts ln(epsilon), and with epsilon = 0 the number is -inf. An eigenvalue that is rounding is
    such a direction. NaN for one row or constant rows.
    Source: `compute_representation_metrics` of
    https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search, there of unit rows.
    """
    return _logdet_covariance(moments(PooledBlock.of(states)), epsilon)


def _spectral_norm(stats: Moments) -> float:
    return float(stats.covariance_spectrum[0]) if stats.spectrum.size else float("nan")


def _logdet_covariance(stats: Moments, epsilon: float = 1e-10) -> float:
    if not stats.spectrum.size:
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(np.log(stats.covariance_spectrum + epsilon).sum())


_of_moments = partial(
    Metric[PooledBlock, Moments],
    over="pooled",
    chunk=moments,
    combine=merge_moments,
    cost="n d^2 + d^3",
    invariant_to=frozenset({"rotation", "translation"}),
)

register(
    _of_moments(
        name="spectral_norm",
        formula="\\lambda_1",
        range="0 .. inf",
        finalize=_spectral_norm,
        reference="https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search "
        "(spectral_norm); of the rows as they are",
        unit="squared states",
        description="variance along the first principal axis",
    )
)
register(
    _of_moments(
        name="logdet_covariance",
        formula="\\ln \\det(C + 10^{-10} I)",
        range="d ln(1e-10) .. inf",
        finalize=_logdet_covariance,
        reference="https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search "
        "(logdet_covariance); of the rows as they are",
        unit="ln of squared states",
        description="log-volume of the covariance, with 1e-10 on its diagonal",
    )
)
