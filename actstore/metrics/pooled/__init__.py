"""Metrics of pooled rows."""
