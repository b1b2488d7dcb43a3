"""Metrics of the same rows of two layers or checkpoints."""

from actstore.metrics.pairs import neighbours, similarity  # noqa: F401  (each registers its metrics)
