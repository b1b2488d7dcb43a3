"""A token-level sample as a lazy xarray.Dataset (layer, token, hidden), whatever its precision.

Where zarr reads a shard that was never written as NaN, without a word, this raises
MissingShardsError; places on the token axis that no text has are NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from actstore.store import schema

if TYPE_CHECKING:
    from actstore.store.arrays.tokens import TokenSample


def sample_dataset(sample: TokenSample) -> xr.Dataset:
    """The states of a sample, read on demand, and the labels of its tokens."""
    states = xr.Variable(
        schema.STATES.dims,
        indexing.LazilyIndexedArray(_TokenStates(sample)),
        {"unit": schema.STATES.unit},
        {"preferred_chunks": {"layer": 1, "token": sample.layout.rows_per_shard}},
    )
    labels = {one.name: (one.dims, getattr(sample, one.name)) for one in schema.TOKEN_ARRAYS}
    layers = np.array(sample.spec.layers, schema.LAYER.dtype)
    return xr.Dataset({schema.STATES.name: states, **labels}, coords={"layer": ("layer", layers)})


class _TokenStates(BackendArray):
    """(layer, token, hidden)."""

    def __init__(self, sample: TokenSample) -> None:
        self.sample = sample
        self.dtype = sample.layout.decoded_dtype
        self.shape = (len(sample.spec.layers), len(sample.row), sample.spec.hidden_size)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        indices = [np.arange(n)[k] for k, n in zip(key, self.shape, strict=True)]
        places, tokens, units = (np.atleast_1d(index) for index in indices)
        out = np.full([len(places), len(tokens), len(units)], np.nan, self.dtype)
        used = np.flatnonzero(self.sample.row[tokens] >= 0)
        for of_layer, place in zip(out, places.tolist(), strict=True):
            layer = self.sample.spec.layers[place]
            states = self.sample.states_of(layer, tokens[used], self.dtype.name)
            of_layer[used] = states[:, units]
        return out[tuple(0 if np.ndim(index) == 0 else slice(None) for index in indices)]
