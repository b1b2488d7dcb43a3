"""States as they will be stored, and proof that the stored dtype holds them.

Three numbers of each vector tell everything, made on the device beside the states themselves and
read when they have arrived: the largest |value| tells what is infinite, NaN or too large, the
relative error of what is kept tells what is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actstore.errors import StateRangeError

MAX_ERROR = 2.0**-8
"""Largest relative error of a stored vector: eight times what rounding to float16 does."""


@dataclass(frozen=True)
class Kept:
    """Vectors of some layers in the dtype they are stored in."""

    states: Tensor
    """(layer, vector, hidden), memory of their own."""
    check: Tensor
    """(2, layer, vector) float32: the largest |value| before, and ||kept - before|| / ||before||,
    which is NaN where the vector is zero."""


def keep(layers: Sequence[Tensor], dtype: torch.dtype) -> Kept:
    """Convert states for storing, without waiting. layers: (vector, hidden) each, float."""
    if layers[0].device.type != "cpu":
        return _keep(torch.stack(list(layers)), dtype)
    parts = [_keep(layer.unsqueeze(0), dtype) for layer in layers]  # stays in the cache
    if len(parts) == 1:
        return parts[0]
    states, check = torch.cat([p.states for p in parts]), torch.cat([p.check for p in parts], 1)
    return Kept(states, check)


def _keep(computed: Tensor, dtype: torch.dtype) -> Kept:
    """computed: (layer, vector, hidden)."""
    exact = computed.float()
    states = computed.to(dtype, copy=True)
    largest = torch.linalg.vector_norm(exact, torch.inf, dim=-1)
    if dtype == torch.float32:
        return Kept(states, torch.stack([largest, torch.zeros_like(largest)]))
    lost = torch.linalg.vector_norm(states.float() - exact, dim=-1)
    return Kept(states, torch.stack([largest, lost / torch.linalg.vector_norm(exact, dim=-1)]))


@dataclass(frozen=True)
class StatesOf:
    """What states are, for an error."""

    pooling: str
    layers: Sequence[int]
    rows: NDArray[np.integer[Any]]
    """(vector,), in the store."""
    dtype: str
    """They would be stored in."""
    computed_in: torch.dtype


def require_range(check: NDArray[np.float32], what: StatesOf) -> float:
    """The largest |value| as it is stored. check: as `Kept` has it, in the host's memory.

    Raises StateRangeError naming the first layer with vectors that the stored dtype cannot hold:
    infinite, NaN, too large, or so small that more than MAX_ERROR of them would be lost.
    """
    largest, error = check
    with np.errstate(over="ignore"):
        stored = largest.astype(what.dtype)
    nothing_left = (stored == 0) & (largest > 0)
    bad = ~np.isfinite(stored) | nothing_left | (error > MAX_ERROR)
    if bad.any():
        layer = int(bad.any(axis=1).argmax())
        raise _out_of_range(largest[layer], error[layer], bad[layer], layer, what)
    return float(stored.max(initial=0))


def _out_of_range(
    largest: NDArray[np.float32],
    error: NDArray[np.float32],
    bad: NDArray[np.bool_],
    layer: int,
    what: StatesOf,
) -> StateRangeError:
    why, remedy = _reason(largest[bad], error[bad], what)
    rows = list(dict.fromkeys(what.rows[bad].tolist()))
    return StateRangeError(
        f"States of layer {what.layers[layer]} ({what.pooling}) cannot be stored for {len(rows)} "
        f"texts, rows {rows[:5]}: {why}. {remedy}"
    )


def _reason(
    largest: NDArray[np.float32], error: NDArray[np.float32], what: StatesOf
) -> tuple[str, str]:
    """Why these vectors cannot be stored, and what helps."""
    if not np.isfinite(largest).all():
        return (
            f"the model's own states are infinite or NaN (computed in {what.computed_in})",
            "Compute in --compute-dtype bfloat16 or float32, and store in --dtype float32.",
        )
    remedy = "Store the states in --dtype float32 (in another store, if this one has begun)."
    if largest.max() > np.finfo(what.dtype).max:
        return f"{largest.max():.4g} is beyond {what.dtype}", remedy
    share = np.nanmax(error, initial=0)
    return (
        f"{largest.min():.4g} is too small for {what.dtype}, {share:.1%} of a vector is lost"
    ), remedy
