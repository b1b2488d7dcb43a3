"""Several layers as one representation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actstore.evaluate.scoring.transform import Representation
from actstore.store import CheckpointGroup


def read_combined(
    group: CheckpointGroup, representation: Representation, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """States of some rows, (n, hidden) in float32: one layer's, or several layers' combined.

    Raises as `CheckpointGroup.read` does.
    """
    layers, pooling = representation.layers, representation.pooling
    if representation.transform.combine == "concat":
        return np.concatenate([group.read(pooling, layer, rows) for layer in layers], axis=1)
    states: NDArray[np.float32] = group.read(pooling, layers[0], rows)
    for layer in layers[1:]:
        states += group.read(pooling, layer, rows)
    if len(layers) > 1:
        states /= len(layers)
    return states
