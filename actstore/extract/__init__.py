"""Extraction: models in, pooled and token-level hidden states of every layer out.

Names are loaded on first use: reading texts or making a request takes no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actstore.extract.checkpoints.fetch import fetch_models
    from actstore.extract.plan import ExtractionPlan, plan_extraction
    from actstore.extract.recomputing import Recomputed, recompute
    from actstore.extract.request import (
        CheckpointReport,
        ExtractionReport,
        ExtractionRequest,
        TokenSampleRequest,
    )
    from actstore.extract.sampling import choose_token_sample
    from actstore.extract.texts import read_texts
    from actstore.extract.tiny_pythia import TinyPythia, train_tiny_pythia
    from actstore.extract.workers.runner import extract

__all__ = [
    "CheckpointReport",
    "ExtractionPlan",
    "ExtractionReport",
    "ExtractionRequest",
    "Recomputed",
    "TinyPythia",
    "TokenSampleRequest",
    "choose_token_sample",
    "extract",
    "fetch_models",
    "plan_extraction",
    "read_texts",
    "recompute",
    "train_tiny_pythia",
]

_WHERE = {
    "fetch_models": "checkpoints.fetch",
    "CheckpointReport": "request",
    "ExtractionPlan": "plan",
    "ExtractionReport": "request",
    "ExtractionRequest": "request",
    "TinyPythia": "tiny_pythia",
    "TokenSampleRequest": "request",
    "choose_token_sample": "sampling",
    "extract": "workers.runner",
    "plan_extraction": "plan",
    "read_texts": "texts",
    "recompute": "recomputing",
    "Recomputed": "recomputing",
    "train_tiny_pythia": "tiny_pythia",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'actstore.extract' has no attribute {name!r}")
    return getattr(import_module(f"actstore.extract.{_WHERE[name]}"), name)
