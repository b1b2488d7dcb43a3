"""Metrics of several views of the same texts."""
