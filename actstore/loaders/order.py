"""In which order an epoch gives rows, and who gives which: arithmetic alone.

Of a chunk the rows that were selected are read as one. An epoch takes the chunks in a random order,
cuts the rows into a range for each rank and worker, and each range into windows, whose rows are
shuffled. So any two chunks may meet in a window, and rows of one chunk nearly always do: a batch is
as mixed as a window holds chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """Which part of an epoch: that of one of `workers` of one of `ranks`."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1


class Piece(NamedTuple):
    """Some neighbouring rows of a chunk."""

    chunk: int
    low: int
    """The first of them, counted in the chunk."""
    high: int
    """The one behind the last."""


@dataclass(frozen=True)
class Epoch:
    """The order of one pass over all chunks."""

    sizes: Ints
    """(chunk,): rows in each."""
    batch_size: int
    window: int
    """Rows that are shuffled together; a multiple of `batch_size`."""
    seed: int | None
    """None: everything in its order."""
    number: int = 0
    """Which epoch: each has another order."""
    drop_last: bool = False
    """Whether each rank gives as many batches, all full; otherwise each row is given once."""

    def n_batches(self, share: Share) -> int:
        """Of one rank, all its workers together."""
        start, stop = self._of_rank(share)
        return -(-(stop - start) // self.batch_size)

    def n_batches_of_worker(self, share: Share) -> int:
        """Of one worker. Workers that take turns, the first one first, give a rank's batches."""
        whole, more = divmod(self.n_batches(share), share.workers)
        return whole + (share.worker < more)

    def rows_of(self, share: Share) -> tuple[int, int]:
        """The range of one worker, in places of the epoch's order."""
        start, stop = self._of_rank(share)
        whole, more = divmod(self.n_batches(share), share.workers)
        first = share.worker * whole + min(share.worker, more)
        last = first + self.n_batches_of_worker(share)
        return start + first * self.batch_size, min(start + last * self.batch_size, stop)

    def pieces(self, start: int, stop: int) -> list[Piece]:
        """The rows at places `start` to `stop` of the epoch's order, chunk by chunk."""
        if start >= stop:
            return []
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        found = []
        for place in range(first, last + 1):
            begin = int(self._ends[place - 1]) if place else 0
            low, high = max(start, begin), min(stop, int(self._ends[place]))
            found.append(Piece(int(self._order[place]), low - begin, high - begin))
        return found

    def shuffled(self, start: int, n: int) -> Ints:
        """The order in which a window's n rows are given. start: its first place."""
        if self.seed is None:
            return np.arange(n)
        return np.random.default_rng([self.seed, self.number, 1, start]).permutation(n)

    def _of_rank(self, share: Share) -> tuple[int, int]:
        n_rows = int(self._ends[-1]) if len(self._ends) else 0
        if not self.drop_last:
            return n_rows * share.rank // share.ranks, n_rows * (share.rank + 1) // share.ranks
        each = n_rows // share.ranks
        start = share.rank * each
        return start, start + each // self.batch_size * self.batch_size

    @cached_property
    def _order(self) -> Ints:
        """(chunk,): the chunks in this epoch's order."""
        if self.seed is None:
            return np.arange(len(self.sizes))
        return np.random.default_rng([self.seed, self.number, 0]).permutation(len(self.sizes))

    @cached_property
    def _ends(self) -> Ints:
        """(chunk,): the place behind each chunk's last row, in this epoch's order."""
        ends: Ints = np.cumsum(self.sizes[self._order])
        return ends
