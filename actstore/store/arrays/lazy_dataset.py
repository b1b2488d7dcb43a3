"""All checkpoints of a model as one lazy xarray.Dataset (checkpoint, layer, text, hidden).

Text values (`prompt_entropy`, …) have the first three of these dimensions. Where zarr reads a shard
that was never written as NaN, without a word, these arrays raise MissingShardsError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    values = sorted({name for group in groups for name in group.text_values()})
    names = [group.checkpoint for group in groups]
    steps = [training_step(name) for name in names]
    return xr.Dataset(
        {f"{name}_pool": _variable(groups, name, layers, rows) for name in poolings}
        | {name: _text_values(groups, name, layers, rows) for name in values},
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


def _text_values(
    groups: Sequence[CheckpointGroup], name: str, layers: list[int], rows: NDArray[np.int64]
) -> xr.Variable:
    declared = schema.TEXT_VALUES[name]
    chunks = {"checkpoint": 1, "layer": len(layers), "text": groups[0].layout.rows_per_shard}
    return xr.Variable(
        ("checkpoint", *declared.dims),
        indexing.LazilyIndexedArray(_TextValues(groups, name, layers, rows)),
        {"unit": declared.unit, "note": declared.meaning},
        {"preferred_chunks": chunks},
    )


class _OverCheckpoints(BackendArray, ABC):
    """(checkpoint, layer, text, …) over the groups of a model, read on demand."""

    def __init__(
        self,
        groups: Sequence[CheckpointGroup],
        name: str,
        layers: list[int],
        rows: NDArray[np.int64],
    ) -> None:
        self.groups, self.name, self.layers, self.rows = groups, name, layers, rows
        self.dtype = np.dtype(np.float32)
        self.shape: tuple[int, ...] = (len(groups), len(layers), len(rows))

    @abstractmethod
    def _fill(
        self,
        group: CheckpointGroup,
        layers: Sequence[int],
        rows: NDArray[np.int64],
        units: Sequence[NDArray[np.int64]],
        out: NDArray[Any],
    ) -> None:
        """Read one checkpoint into `out` (layer, text, …); units: indices of what comes last."""

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        indices = [np.arange(n)[k] for k, n in zip(key, self.shape, strict=True)]
        checkpoints, places, texts, *units = (np.atleast_1d(index) for index in indices)
        layers = [self.layers[place] for place in places]
        sizes = [len(index) for index in (checkpoints, places, texts, *units)]
        out = np.empty(sizes, self.dtype)
        for of_checkpoint, index in zip(out, checkpoints, strict=True):
            group = self.groups[index]
            try:
                self._fill(group, layers, self.rows[texts], units, of_checkpoint)
            except UnknownNameError as error:  # another checkpoint of the model has it
                raise MissingShardsError(f"At {group.checkpoint}: {error}") from error
        return out[tuple(0 if np.ndim(index) == 0 else slice(None) for index in indices)]


class _PooledStates(_OverCheckpoints):
    """(checkpoint, layer, text, hidden)."""

    def __init__(
        self,
        groups: Sequence[CheckpointGroup],
        name: str,
        layers: list[int],
        rows: NDArray[np.int64],
    ) -> None:
        super().__init__(groups, name, layers, rows)
        self.shape = (*self.shape, groups[0].spec.hidden_size)
        self.dtype = np.result_type(*(group.layout.decoded_dtype for group in groups))

    def _fill(
        self,
        group: CheckpointGroup,
        layers: Sequence[int],
        rows: NDArray[np.int64],
        units: Sequence[NDArray[np.int64]],
        out: NDArray[Any],
    ) -> None:
        for of_layer, layer in zip(out, layers, strict=True):
            states = group.read(self.name, layer, rows, dtype=self.dtype.name)
            of_layer[...] = states[:, units[0]]


class _TextValues(_OverCheckpoints):
    """(checkpoint, layer, text) in float32."""

    def _fill(
        self,
        group: CheckpointGroup,
        layers: Sequence[int],
        rows: NDArray[np.int64],
        units: Sequence[NDArray[np.int64]],
        out: NDArray[Any],
    ) -> None:
        del units
        out[...] = group.read_value_layers(self.name, layers, rows)
