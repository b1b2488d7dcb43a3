"""Four coefficients as one: the cosine between what is made of each series.

Pearson's is the cosine between centred values, Spearman's between centred ranks, Kendall's tau-b
between the signs of all differences (Daniels 1944, https://doi.org/10.1093/biomet/33.2.129), and
the squared distance correlation that between doubly centred distances (Székely, Rizzo & Bakirov
2007, https://doi.org/10.1214/009053607000000505). So thousands of pairs are one matrix product,
where libraries take one pair a call; the tests hold each against scipy and dcor.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_CHUNK = 2**22
"""Numbers that are made of series at a time."""


class Method(StrEnum):
    SPEARMAN = "spearman"
    """Monotone relations, -1 to 1."""
    KENDALL = "kendall"
    """tau-b: how many more pairs are ordered alike than not, -1 to 1."""
    PEARSON = "pearson"
    """Linear relations, -1 to 1."""
    DISTANCE = "dcor"
    """Any relation, 0 to 1; 0 for no relation at all only in the limit of many arms."""


def coefficients(
    method: Method, x: NDArray[np.float64], y: NDArray[np.float64], dtype: DTypeLike = np.float64
) -> NDArray[np.float64]:
    """The coefficient of each series of x with each of y.

    x: (series, arm). y: (series, arm). dtype: of what is made of them. Returns (series of x, series
    of y) in float64, NaN where one is constant.
    """
    ours = _made_of(method, y, dtype)
    size = ours.shape[1]
    step = max(1, _CHUNK // max(size, 1))
    parts = [
        _cosines(_made_of(method, x[start : start + step], dtype), ours)
        for start in range(0, len(x), step)
    ]
    found = np.concatenate(parts) if parts else np.empty((0, len(y)))
    return np.sqrt(np.maximum(found, 0)) if method is Method.DISTANCE else np.clip(found, -1, 1)


def _made_of(method: Method, series: NDArray[np.float64], dtype: DTypeLike) -> NDArray[Any]:
    from scipy import stats

    if method in (Method.PEARSON, Method.SPEARMAN):
        values = stats.rankdata(series, axis=1) if method is Method.SPEARMAN else series
        return _centred(values).astype(dtype)
    differences = (series[:, :, None] - series[:, None, :]).astype(dtype)
    if method is Method.KENDALL:
        signs: NDArray[Any] = np.sign(differences).reshape(len(series), -1)
        return signs
    distances = np.abs(differences, out=differences)
    rows = distances.mean(axis=2)
    distances += rows.mean(axis=1)[:, None, None]
    distances -= rows[:, :, None]
    distances -= rows[:, None, :]
    return _nothing_if_constant(distances.reshape(len(series), -1), series)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _nothing_if_constant(values - values.mean(axis=1, keepdims=True), values)


def _nothing_if_constant(made: NDArray[Any], series: NDArray[np.float64]) -> NDArray[Any]:
    """Zeros where rounding would leave something of a constant series."""
    made[np.ptp(series, axis=1) == 0] = 0
    return made


def _cosines(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)[None]
    products = (x @ y.T).astype(np.float64)
    found = np.full(products.shape, np.nan)
    np.divide(products, lengths, out=found, where=lengths > 0)
    return found
