"""States in another dtype, and proof that it holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import StateRangeError

_MAX_ERROR = 2.0**-8
"""Largest relative error of a vector, as extraction allows it: eight times float16's rounding."""


def cast(states: NDArray[np.float32], dtype: str, what: str) -> NDArray[np.floating[Any]]:
    """States (n, hidden) in a dtype.

    what: names them in an error. Raises StateRangeError where a finite value becomes infinite, or
    a vector loses more than 2^-8 of its length.
    """
    with np.errstate(over="ignore", under="ignore"):
        kept: NDArray[np.floating[Any]] = states.astype(dtype)
    if kept.dtype == np.float32:
        return kept
    finite = np.isfinite(states)
    if (finite & ~np.isfinite(kept)).any():
        largest = float(np.abs(states[finite]).max())
        raise _unfit(what, dtype, f"holds no value as large as {largest:.3g}")
    lost = np.linalg.norm(kept.astype(np.float32) - states, axis=-1)
    if (lost > _MAX_ERROR * np.linalg.norm(states, axis=-1)).any():
        raise _unfit(what, dtype, "loses more than 1 part in 256 of a vector whose values are tiny")
    return kept


def _unfit(what: str, dtype: str, why: str) -> StateRangeError:
    return StateRangeError(
        f"{what} cannot be copied as {dtype}, which {why}. Leave out --dtype, or copy with "
        "--dtype float32."
    )
