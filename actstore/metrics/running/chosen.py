"""Which texts a request is over: all, a task's, or a seeded sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.metrics.blocks import RowNumbers
from actstore.metrics.running.request import ALL_PAIRS, MetricsRequest
from actstore.store import Store

_EVERY_ROW = 2**64 - 1


@dataclass(frozen=True)
class Chosen:
    """The texts of some values."""

    rows: RowNumbers
    """(text,), ascending."""
    seed: int
    at_most: int
    """How many of them metrics of all pairs are over."""
    label: str
    """As values are recorded, behind the name of the array: empty, `/STS12`, `/sample=100`."""

    def pairs_limit(self, rows: RowNumbers) -> int:
        """Of some of them: those with `row_hash` up to this are what metrics of all pairs get."""
        if len(rows) <= self.at_most:
            return _EVERY_ROW
        return int(np.partition(row_hash(rows, self.seed), self.at_most - 1)[self.at_most - 1])

    def draw(self, rows: RowNumbers) -> RowNumbers:
        """Those of some rows, of a token sample or a set of views, that are chosen; ascending."""
        return np.intersect1d(rows, self.rows)


def chosen_texts(store: Store, request: MetricsRequest) -> Iterator[Chosen]:
    """One choice a task, or one of all texts. Raises UnknownNameError, InvalidInputError."""
    if request.sample is not None and request.sample < 1:
        raise InvalidInputError(f"--sample {request.sample} chooses no text: give 1 or more.")
    for task in request.tasks or (None,):
        rows = store.source_rows() if task is None else np.unique(store.task(task).rows())
        rows = rows[rows >= 0]
        label = f"/{task}" if task else ""
        at_most = ALL_PAIRS
        if request.sample is not None:
            rows, at_most = _drawn(rows, request.sample, request.seed), request.sample
            label += f"/sample={request.sample}"
        if request.seed:
            label += f"/seed={request.seed}"
        yield Chosen(rows, request.seed, at_most, label)


def row_hash(rows: RowNumbers, seed: int) -> NDArray[np.uint64]:
    """A number of each row that looks random: the rows with the smallest are a sample.

    So a larger sample contains a smaller one, and a worker needs no list to know who is in it.
    Source: SplitMix64, Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195.
    """
    with np.errstate(over="ignore"):
        z = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(seed % 2**64) * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _drawn(rows: RowNumbers, n: int, seed: int) -> RowNumbers:
    if n >= len(rows):
        return rows
    return np.sort(rows[np.argpartition(row_hash(rows, seed), n - 1)[:n]])
