"""Stored states as a data set of torch: batches in a random order, of any number of checkpoints.

Memory is one window and one batch for each worker of a DataLoader, whatever the store holds.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from actstore.errors import InvalidInputError
from actstore.loaders.chunks import Chunks, StateSelection, pooled_chunks, token_chunks
from actstore.loaders.order import Epoch, Ints, Piece, Share
from actstore.loaders.resuming import Place, as_state, place_of, read_state
from actstore.refs import look_up
from actstore.store import Store, open_store
from actstore.store.storage import LocalStorage, each

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Batching:
    """How an epoch is cut and shuffled."""

    batch_size: int = 4096
    """Rows in a batch."""
    window: int = 65536
    """Rows that are held and shuffled together, rounded down to whole batches."""
    seed: int | None = 0
    """Of the shuffling; None: by checkpoint, layer and row."""
    drop_last: bool = False
    """Whether each rank gives as many batches, all full; otherwise each row is given once."""
    dtype: str = "float32"
    """Of the states: float32, float16, bfloat16."""
    rank: int | None = None
    """Which of `ranks` this process is; None: as torch.distributed says, the only one without."""
    ranks: int | None = None


class PooledBatch(NamedTuple):
    """Pooled states of some texts."""

    states: Tensor
    """(n, hidden)."""
    row: Tensor
    """(n,) int64: each text's row in the store."""
    layer: Tensor
    """(n,) int64."""
    checkpoint: Tensor
    """(n,) int64: its number in the data set's `checkpoints`."""


class TokenBatch(NamedTuple):
    """States of some tokens."""

    states: Tensor
    """(n, hidden)."""
    row: Tensor
    """(n,) int64: the row of each token's text."""
    position: Tensor
    """(n,) int64: its place in the text."""
    token_id: Tensor
    """(n,) int64."""
    layer: Tensor
    """(n,) int64."""
    checkpoint: Tensor
    """(n,) int64: its number in the data set's `checkpoints`."""


B = TypeVar("B", PooledBatch, TokenBatch)


class _States(IterableDataset[B], ABC, Generic[B]):
    """What both data sets share. Each gives batches: use `DataLoader(dataset, batch_size=None)`."""

    def __init__(
        self, store: Store | str, selection: StateSelection | None, batching: Batching | None
    ) -> None:
        opened = open_store(store) if isinstance(store, str) else store
        self.selection = selection or StateSelection()
        self.batching = _checked(batching or Batching())
        self._url = opened.url
        self._state: Place | None = None
        self._taken = Place(0, 0, 0, 1, alone=True)
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers see it
        self._open(opened)

    @abstractmethod
    def _select(self, store: Store) -> tuple[tuple[str, ...], Chunks]:
        """The checkpoints and chunks of the selection."""

    @abstractmethod
    def _batch(self, states: Tensor, labels: dict[str, Tensor]) -> B:
        """A batch of its parts."""

    @property
    @abstractmethod
    def _labels(self) -> tuple[str, ...]: ...

    def _open(self, store: Store) -> None:
        self.checkpoints, self._chunks = self._select(store)
        self._storage = store.storage
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """For workers that are spawned: they open the store themselves."""
        return {k: v for k, v in vars(self).items() if k not in ("_chunks", "_storage")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open(open_store(self._url))

    @property
    def hidden_size(self) -> int:
        return self._chunks.hidden_size

    @property
    def n_rows(self) -> int:
        """Rows of an epoch, of all ranks together."""
        return int(self._chunks.sizes.sum())

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order that the next iteration gives: each epoch has its own."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Batches of an epoch, of this rank."""
        return self._order().n_batches(self._share(0, 1))

    def __iter__(self) -> Iterator[B]:
        """The rest of the epoch where a state of it was loaded, otherwise the whole of it."""
        self._refuse_fork()
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        place = place_of(self._state, self.epoch, worker, workers)
        if info is None:
            self._state = None
        place = replace(place, alone=info is None)
        share, order = self._share(place.worker, workers), self._order()
        self._taken = place
        for batch in self._batches(order, share, place.taken):
            self._taken = replace(self._taken, taken=self._taken.taken + 1)
            yield batch

    def state_dict(self, *, taken: int | None = None, workers: int = 0) -> dict[str, Any]:
        """Where in which epoch this is, as plain numbers: the next batch is the one that follows.

        Inside a worker it speaks of that worker, as torchdata's StatefulDataLoader wants it. With a
        plain DataLoader of several workers only the loop knows: say how many batches of this epoch
        it has taken, from its start and not from where it was resumed, and from how many workers.
        """
        place = self._taken
        if taken is not None:
            place = Place(self.epoch, taken, 0, max(workers, 1), alone=True)
        return as_state(place, self._settings())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind a state: the next iteration of its epoch does.

        Raises PlanMismatchError for a state of another selection, seed, batch size or rank.
        """
        self._state = self._taken = read_state(state, self._settings())
        self.set_epoch(self._state.epoch)

    def _settings(self) -> dict[str, Any]:
        """What the order depends on."""
        share, batching = self._share(0, 1), asdict(self.batching)
        kept = {name: batching[name] for name in ("batch_size", "window", "seed", "drop_last")}
        layers = [list(part.layers) for part in self._chunks.parts]
        selected = {"checkpoints": list(self.checkpoints), "layers": layers, "rows": self.n_rows}
        return {**kept, **selected, "rank": share.rank, "ranks": share.ranks}

    def _batches(self, order: Epoch, share: Share, first: int) -> Iterator[B]:
        start, stop = order.rows_of(share)
        size, held = order.batch_size, _Window(self._chunks, order, self.batching.dtype)
        for low in range(start + first * size, stop, size):
            begin = low - (low - start) % order.window
            held.fill(self._storage, begin, min(begin + order.window, stop), self._labels)
            yield self._batch(*held.rows(low - begin, min(low + size, stop) - begin))

    def _order(self) -> Epoch:
        one = self.batching
        window = max(one.window // one.batch_size, 1) * one.batch_size
        sizes = self._chunks.sizes
        return Epoch(sizes, one.batch_size, window, one.seed, self.epoch, one.drop_last)

    def _share(self, worker: int, workers: int) -> Share:
        rank, ranks = self.batching.rank, self.batching.ranks
        if rank is None or ranks is None:
            known = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank = torch.distributed.get_rank() if known else 0
            ranks = torch.distributed.get_world_size() if known else 1
        return Share(rank, ranks, worker, workers)

    def _refuse_fork(self) -> None:
        """A client of an object store has threads, and those are not forked: it would hang."""
        if os.getpid() != self._pid and not isinstance(self._storage, LocalStorage):
            raise InvalidInputError(
                f"A forked worker cannot read {self._url}. Spawn workers: DataLoader(…, "
                "multiprocessing_context='spawn')"
            )


class PooledDataset(_States[PooledBatch]):
    """Pooled states of texts, in batches: (text, layer, checkpoint) each once an epoch."""

    def __init__(
        self,
        store: Store | str,
        selection: StateSelection | None = None,
        batching: Batching | None = None,
        *,
        pooling: str = "mean",
        rows: Ints | None = None,
    ) -> None:
        """rows: of texts, each counted once; None: all. Raises as `Store.embeddings` does."""
        self.pooling, self._rows = pooling, rows
        super().__init__(store, selection, batching)

    def _select(self, store: Store) -> tuple[tuple[str, ...], Chunks]:
        return pooled_chunks(store, self.selection, self.pooling, self._rows)

    @property
    def _labels(self) -> tuple[str, ...]:
        return PooledBatch._fields[1:]

    def _batch(self, states: Tensor, labels: dict[str, Tensor]) -> PooledBatch:
        return PooledBatch(states, **labels)


class TokenDataset(_States[TokenBatch]):
    """States of a sample's tokens, in batches: (token, layer, checkpoint) each once an epoch."""

    def __init__(
        self,
        store: Store | str,
        selection: StateSelection | None = None,
        batching: Batching | None = None,
        *,
        sample: str = "sample",
        special_tokens: bool = True,
    ) -> None:
        """special_tokens: whether those that the tokenizer added are among them.

        Raises UnknownNameError, and MissingShardsError for a sample that is not complete.
        """
        self.sample, self.special_tokens = sample, special_tokens
        super().__init__(store, selection, batching)

    def _select(self, store: Store) -> tuple[tuple[str, ...], Chunks]:
        return token_chunks(store, self.selection, self.sample, special_tokens=self.special_tokens)

    @property
    def _labels(self) -> tuple[str, ...]:
        return TokenBatch._fields[1:]

    def _batch(self, states: Tensor, labels: dict[str, Tensor]) -> TokenBatch:
        return TokenBatch(states, **labels)


class _Window:
    """The rows that are shuffled together, in memory that is used again for the next ones.

    They are held as they are stored, in float16 mostly; a batch is made what is asked for.
    """

    def __init__(self, chunks: Chunks, order: Epoch, dtype: str) -> None:
        self._chunks, self._order, self._dtype = chunks, order, DTYPES[dtype]
        self._stored = DTYPES[chunks.dtype.name]
        self._states = torch.empty(0)
        self._labels: dict[str, Tensor] = {}
        self._given = np.empty(0, np.int64)
        self._held = (-1, -1)

    def fill(self, storage: Any, start: int, stop: int, labels: tuple[str, ...]) -> None:
        """Hold the rows at these places of the epoch's order."""
        if self._held == (start, stop):
            return
        if stop - start > len(self._states):
            shape = min(self._order.window, stop - start), self._chunks.hidden_size
            self._states = torch.empty(shape, dtype=self._stored)
        pieces = self._order.pieces(start, stop)
        ends = np.cumsum([piece.high - piece.low for piece in pieces]).tolist()
        places = list(zip(pieces, ends, strict=True))
        each(storage, lambda one: self._read(*one), places)
        self._labels = {name: torch.from_numpy(self._label(places, name)) for name in labels}
        self._given = self._order.shuffled(start, stop - start)
        self._held = (start, stop)

    def rows(self, low: int, high: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Some of the rows in the order they are given in, and their labels."""
        chosen = torch.from_numpy(self._given[low:high])
        labels = {name: values[chosen] for name, values in self._labels.items()}
        return self._states.index_select(0, chosen).to(self._dtype), labels

    def _read(self, piece: Piece, end: int) -> None:
        self._chunks.read(piece, self._states[end - (piece.high - piece.low) : end].numpy())

    def _label(self, places: list[tuple[Piece, int]], name: str) -> Ints:
        out = np.empty(places[-1][1], np.int64)
        for piece, end in places:
            out[end - (piece.high - piece.low) : end] = self._chunks.label(piece, name)
        return out


def _checked(batching: Batching) -> Batching:
    look_up("dtype of batches", batching.dtype, [*DTYPES], "Write: dtype='bfloat16'")
    if batching.batch_size < 1 or batching.window < 1:
        raise InvalidInputError(
            f"A batch of {batching.batch_size} rows, a window of {batching.window}: both need one "
            "or more."
        )
    rank, ranks = batching.rank, batching.ranks
    if (rank is None) != (ranks is None) or (
        rank is not None and ranks is not None and not 0 <= rank < ranks
    ):
        raise InvalidInputError(f"rank={rank} of ranks={ranks}: give both, as in rank=0, ranks=4.")
    return batching
