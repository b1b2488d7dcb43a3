"""Extraction: models in, pooled and token-level hidden states of every layer out."""
