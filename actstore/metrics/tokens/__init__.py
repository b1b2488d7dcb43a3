"""Metrics of a text's token states."""

from actstore.metrics.tokens import angles, dimension, entropy  # noqa: F401  (registers them)
