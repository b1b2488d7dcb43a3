"""Stored states for training: data sets of torch, and probes for scikit-learn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from actstore.errors import MissingDependencyError
from actstore.loaders.chunks import StateSelection

if TYPE_CHECKING:
    from actstore.loaders.labelled import LabelledTexts, labelled_texts, task_texts
    from actstore.loaders.probing import Probe, load_probe
    from actstore.loaders.states import (
        Batching,
        PooledBatch,
        PooledDataset,
        TokenBatch,
        TokenDataset,
    )

__all__ = [
    "Batching",
    "LabelledTexts",
    "PooledBatch",
    "PooledDataset",
    "Probe",
    "StateSelection",
    "TokenBatch",
    "TokenDataset",
    "labelled_texts",
    "load_probe",
    "task_texts",
]
_HOMES = {
    **dict.fromkeys(("LabelledTexts", "labelled_texts", "task_texts"), "labelled"),
    **dict.fromkeys(("Probe", "load_probe"), "probing"),
}
_NEEDS = {"states": "torch", "labelled": "scikit-learn", "probing": "scikit-learn"}


def __getattr__(name: str) -> object:
    """Load what needs torch or scikit-learn on first use: neither needs the other."""
    if name not in __all__:
        raise AttributeError(f"module 'actstore.loaders' has no attribute {name!r}")
    home = _HOMES.get(name, "states")
    try:
        module = importlib.import_module(f"actstore.loaders.{home}")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{name} needs {error.name}. Run: pip install {_NEEDS[home]}"
        ) from error
    return getattr(module, name)
