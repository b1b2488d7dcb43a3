"""Reading stored states as they are scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actstore.evaluate.scoring.combine import read_combined
from actstore.evaluate.scoring.fitting import fit_of
from actstore.evaluate.scoring.transform import Representation
from actstore.store import CheckpointGroup


def read_states(
    group: CheckpointGroup, representation: Representation, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """States of some rows as they are scored: (n, values) in float32, every step applied.

    Raises as `CheckpointGroup.read` and `fit_of` do.
    """
    states, transform = read_combined(group, representation, rows), representation.transform
    if transform.fit:
        states = fit_of(group, representation).apply(states)
    if transform.dims is not None:
        states = np.ascontiguousarray(states[:, : transform.dims])
    return l2_normalised(states) if transform.l2 else states


def l2_normalised(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row over its Euclidean norm; rows of zeros stay. Changes `states`."""
    norms = np.linalg.norm(states, axis=1, keepdims=True)
    np.divide(states, norms, out=states, where=norms > 0)
    return states
