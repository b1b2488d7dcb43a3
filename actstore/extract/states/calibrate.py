"""Which dtype holds a model's states, found out on a few texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.extract.model.load import LoadedModel
from actstore.extract.states.forward import ForwardSettings, pooled_states
from actstore.extract.states.pooling import NamedPooling

_HEADROOM = 16
"""A text may have states so many times as large as the largest of the few."""
_MAX_ERROR = 2.0**-10
"""Relative error of a vector in float16: twice what rounding does to normal numbers."""


def choose_dtype(
    model: LoadedModel,
    token_ids: Sequence[NDArray[np.integer[Any]]],
    poolings: Sequence[NamedPooling],
    settings: ForwardSettings,
) -> str:
    """`float16` if it holds the pooled states of these texts with room to spare, else `float32`.

    A function of the model and the texts alone, so that every worker chooses the same.
    Raises StateRangeError if the model's own states are infinite or NaN.
    """
    exact, rows = replace(settings, dtype="float32"), np.arange(len(token_ids))
    for batch in pooled_states(model, token_ids, rows, poolings, exact):
        if not all(_fits_float16(states) for states in batch.states.values()):
            return "float32"
    return "float16"


def _fits_float16(states: NDArray[np.float32]) -> bool:
    """states: (layer, text, hidden)."""
    if np.abs(states).max() * _HEADROOM > np.finfo(np.float16).max:
        return False
    error = np.linalg.norm(states.astype(np.float16) - states, axis=-1)
    return bool((error <= _MAX_ERROR * np.linalg.norm(states, axis=-1)).all())
