"""Metrics of pooled rows."""

from actstore.metrics.pooled import (  # noqa: F401  (each registers its metrics)
    cosines,
    covariance,
    entropies,
    harness,
    spectral,
    uniform,
)
