"""Metrics of several views of the same texts."""

from actstore.metrics.views import lidar, two_views  # noqa: F401  (each registers its metrics)
