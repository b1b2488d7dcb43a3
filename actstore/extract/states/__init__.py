"""Texts through a model: batches in, pooled states and token metrics of every layer out."""
