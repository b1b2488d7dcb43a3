"""The metrics of one text's token states under one roof."""

from actstore.metrics.tokens.angles import curvature
from actstore.metrics.tokens.entropy import prompt_entropy

__all__ = ["curvature", "prompt_entropy"]
