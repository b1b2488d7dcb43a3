"""Centring and whitening: fitted once on a checkpoint's own states, kept in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.evaluate.scoring.combine import read_combined
from actstore.evaluate.scoring.transform import Representation
from actstore.store import CheckpointGroup
from actstore.store.results.kept import FITS, keep, read_kept

_MAX_ROWS = 1 << 16
_BLOCK = 1 << 12
_MAX_WIDTH = 1 << 14
"""Values of the widest vectors that are whitened: the matrix takes 2 GiB in float64."""


@dataclass(frozen=True)
class Fit:
    """Shift and, for whitening, a matrix: x becomes (x - mean) @ matrix."""

    mean: NDArray[np.float32]
    """(hidden,)"""
    matrix: NDArray[np.float32] | None
    """(hidden, kept): directions by falling variance, each scaled to variance 1."""

    def apply(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, hidden) to (n, hidden), or (n, kept). Changes `states`."""
        states -= self.mean
        return states if self.matrix is None else states @ self.matrix


def fit_rows(group: CheckpointGroup, pooling: str) -> NDArray[np.int64]:
    """The rows a fit is made on: of what is extracted, 65,536 at most, in evenly spaced blocks."""
    rows, committed = group.texts.rows(), group.committed(pooling)
    there = rows[np.isin(rows // group.layout.rows_per_shard, list(committed))]
    blocks = np.split(there, np.flatnonzero(np.diff(there // group.layout.rows_per_chunk)) + 1)
    n_blocks = max(1, _MAX_ROWS // group.layout.rows_per_chunk)
    if len(blocks) > n_blocks:
        blocks = [blocks[i] for i in np.linspace(0, len(blocks) - 1, n_blocks).astype(int)]
    return np.concatenate(blocks)


def fit_digest(group: CheckpointGroup, representation: Representation) -> str:
    """Identifies the texts that the fit is made on; empty where nothing is fitted."""
    if not representation.transform.fit:
        return ""
    rows = fit_rows(group, representation.pooling)
    return xxhash.xxh3_128_hexdigest(group.texts.hashes_of(rows).tobytes())


def fit_of(group: CheckpointGroup, representation: Representation) -> Fit:
    """The fit of a representation, from the store or made now.

    Raises InvalidInputError for fewer than two texts, and for vectors too wide to whiten.
    """
    spec, transform = group.spec, representation.transform
    layers, pooling = representation.layers, group.stored_pooling(representation.pooling)
    source = [spec.model, spec.checkpoint, spec.digest(), list(layers), pooling]
    made = [*source, transform.combine, transform.fit, fit_digest(group, representation)]
    key = json.dumps(made)
    arrays = read_kept(group.storage, FITS, key)
    if arrays is None:
        arrays = _fit(group, representation)
        keep(group.storage, FITS, key, arrays)
    return Fit(arrays["mean"], arrays.get("matrix"))


def _fit(group: CheckpointGroup, representation: Representation) -> dict[str, NDArray[np.float32]]:
    rows = fit_rows(group, representation.pooling)
    if len(rows) < 2:
        raise InvalidInputError(
            f"{representation.transform} is fitted on the texts that were extracted; "
            f"{group.model} at {group.checkpoint} has {len(rows)}. Extract a suite first."
        )
    states = read_combined(group, representation, rows)
    mean = states.mean(axis=0, dtype=np.float64)
    if representation.transform.fit == "center":
        return {"mean": mean.astype(np.float32)}
    return {"mean": mean.astype(np.float32), "matrix": _whitening(_covariance(states, mean))}


def _covariance(states: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    width = states.shape[1]
    if width > _MAX_WIDTH:
        raise InvalidInputError(
            f"Whitening {width} values at once takes a matrix of {width} x {width}; the limit is "
            f"{_MAX_WIDTH}. Concatenate fewer layers, or whiten without concat."
        )
    total = np.zeros((width, width))
    for start in range(0, len(states), _BLOCK):
        centred = states[start : start + _BLOCK] - mean
        total += centred.T @ centred
    return total / (len(states) - 1)


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Eigenvectors by falling eigenvalue over the roots of these.

    Directions without variance, to the precision of the states, have no scale and are left out.
    """
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1]
    kept = order[values[order] > values.max() * len(values) * np.finfo(np.float32).eps]
    matrix: NDArray[np.float32] = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return matrix
