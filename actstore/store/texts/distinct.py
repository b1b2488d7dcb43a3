"""Counting what differs in journals of many records, without making an object of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SPANS = (600.0, 3600.0)
"""Seconds that a rate is over: the second where nothing came to an end in the first."""


def distinct(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """One row of a table for each that differs in some columns, the first there is."""
    codes = np.zeros(len(table), np.int64)
    for name in columns:
        encoded = table[name].combine_chunks().dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.fill_null(-1).to_numpy() + 1
        _, codes = np.unique(codes, return_inverse=True)  # small numbers again: no overflow
    _, first = np.unique(codes, return_index=True)
    return table.take(pa.array(np.sort(first)))


def rate(at: NDArray[np.float64], now: float) -> float | None:
    """How many a second came over the last minutes; None where fewer than two moments are known.

    at: when each came, in seconds since 1970. Several may come at one moment; those of the first
    moment were made before it, and count for its beginning only.
    """
    for span in _SPANS:
        lately = at[at > now - span]
        if len(lately) and lately.max() > lately.min():
            return float((lately > lately.min()).sum() / (lately.max() - lately.min()))
    return None
