"""Stored states for training: data sets of torch, and probes for scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actstore.errors import MissingDependencyError
from actstore.loaders.blocks import StateSelection

if TYPE_CHECKING:
    from actstore.loaders.states import (
        Batching,
        PooledBatch,
        PooledDataset,
        TokenBatch,
        TokenDataset,
    )

_OF_TORCH = ("Batching", "PooledBatch", "PooledDataset", "TokenBatch", "TokenDataset")
__all__ = [
    "Batching",
    "PooledBatch",
    "PooledDataset",
    "StateSelection",
    "TokenBatch",
    "TokenDataset",
]


def __getattr__(name: str) -> object:
    """Load what needs torch on first use: a probe needs none."""
    if name not in _OF_TORCH:
        raise AttributeError(f"module 'actstore.loaders' has no attribute {name!r}")
    try:
        from actstore.loaders import states
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{name} needs {error.name}. Run: pip install 'actstore[extract]', or torch alone."
        ) from error
    return getattr(states, name)
