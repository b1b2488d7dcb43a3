"""All checkpoints of a model as one lazy xarray.Dataset (checkpoint, layer, text, hidden).

Where zarr reads a shard that was never written as NaN, without a word, these arrays raise
MissingShardsError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from actstore.errors import MissingShardsError, UnknownNameError
from actstore.refs import training_step
from actstore.store import schema

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup


def lazy_dataset(
    groups: Sequence[CheckpointGroup],
    rows: NDArray[np.int64],
    lengths: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str],
) -> xr.Dataset:
    """One lazy dataset over all checkpoints of a model.

    groups: in training order. rows: of the texts. lengths: `n_tokens` and `truncated`, (text,).
    """
    layers = sorted({layer for group in groups for layer in group.layers})
    poolings = sorted({pooling for group in groups for pooling in group.poolings()})
    names = [group.checkpoint for group in groups]
    steps = [training_step(name) for name in names]
    return xr.Dataset(
        {f"{name}_pool": _variable(groups, name, layers, rows) for name in poolings},
        coords={
            "checkpoint": np.array(names, dtype=str),
            "step": ("checkpoint", [np.nan if s is None else float(s) for s in steps]),
            "layer": (
                "layer",
                np.array(layers, schema.LAYER.dtype),
                {"note": schema.LAYER.meaning},
            ),
            "row": ("text", rows),
            "n_tokens": ("text", lengths["n_tokens"], {"unit": schema.N_TOKENS.unit}),
            "truncated": ("text", lengths["truncated"]),
        },
        attrs=dict(attributes),
    )


def _variable(
    groups: Sequence[CheckpointGroup], pooling: str, layers: list[int], rows: NDArray[np.int64]
) -> xr.Variable:
    array = _PooledStates(groups, pooling, layers, rows)
    chunks = {"checkpoint": 1, "layer": 1, "text": groups[0].layout.rows_per_shard}
    return xr.Variable(
        ("checkpoint", *schema.POOLED.dims),
        indexing.LazilyIndexedArray(array),
        {"pooling": pooling, "unit": schema.POOLED.unit},
        {"preferred_chunks": {**chunks, "hidden": array.shape[-1]}},
    )


class _PooledStates(BackendArray):
    """(checkpoint, layer, text, hidden) over the groups of a model, read on demand."""

    def __init__(
        self,
        groups: Sequence[CheckpointGroup],
        pooling: str,
        layers: list[int],
        rows: NDArray[np.int64],
    ) -> None:
        self.groups, self.pooling, self.layers, self.rows = groups, pooling, layers, rows
        self.shape = (len(groups), len(layers), len(rows), groups[0].spec.hidden_size)
        self.dtype = np.result_type(*(np.dtype(group.spec.dtype) for group in groups))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        indices = [np.arange(n)[k] for k, n in zip(key, self.shape, strict=True)]
        checkpoints, layers, texts, hidden = (np.atleast_1d(index) for index in indices)
        rows = self.rows[texts]
        out = np.empty((len(checkpoints), len(layers), len(rows), len(hidden)), self.dtype)
        for i, checkpoint in enumerate(checkpoints):
            for j, layer in enumerate(layers):
                out[i, j] = self._one_layer(int(checkpoint), int(layer), rows)[:, hidden]
        return out[tuple(0 if np.ndim(index) == 0 else slice(None) for index in indices)]

    def _one_layer(self, checkpoint: int, layer: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        group = self.groups[checkpoint]
        try:
            return group.read(self.pooling, self.layers[layer], rows, dtype=self.dtype.name)
        except UnknownNameError as error:  # another checkpoint of the model has it, this one not
            raise MissingShardsError(f"At {group.checkpoint}: {error}") from error
