"""Metrics of the same rows of two layers or checkpoints."""
