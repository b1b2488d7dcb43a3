"""What a selection of stored states holds, cut into the chunks that are read as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.loaders.order import Ints, Piece
from actstore.refs import look_up, parse_layers
from actstore.store import CheckpointGroup, Store
from actstore.store.arrays.sharded import ShardedArray


@dataclass(frozen=True)
class StateSelection:
    """Which states: of which model, checkpoints and layers."""

    model: str | None = None
    """None: the only one of the store."""
    checkpoints: tuple[str, ...] = ()
    """Names, globs, ranges, `last:50`, presets; empty: all that are stored."""
    layers: str = "all"
    """As on the command line: `all`, `0,3,6`, `15-23`, `-4:`."""


@dataclass(frozen=True)
class Part:
    """One checkpoint's share of a selection: the same places of an array at several layers."""

    checkpoint: int
    """Its number in the selection."""
    array: ShardedArray
    places: Ints
    """(n,): ascending along the array's second axis: rows of texts, or tokens of a sample."""
    layers: tuple[int, ...]
    """The layers' numbers."""
    layer_indices: tuple[int, ...]
    """Where they are in the array."""
    labels: Mapping[str, Ints]
    """(n,) each: what is known of every place."""

    @cached_property
    def cuts(self) -> Ints:
        """(chunks + 1,): where chunks begin among the places, and the end of the last."""
        chunks = self.places // self.array.layout.rows_per_chunk
        starts = np.flatnonzero(np.diff(chunks, prepend=-1))
        return np.append(starts, len(self.places))


@dataclass(frozen=True)
class Chunks:
    """The chunks of some checkpoints, layer by layer."""

    parts: Sequence[Part]

    @cached_property
    def sizes(self) -> Ints:
        """(chunk,): rows in each."""
        found = [np.tile(np.diff(part.cuts), len(part.layers)) for part in self.parts]
        return np.concatenate(found).astype(np.int64)

    @property
    def hidden_size(self) -> int:
        return self.parts[0].array.layout.hidden_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """What all of them are read as without loss."""
        return np.result_type(*{part.array.layout.decoded_dtype for part in self.parts})

    def of(self, piece: Piece) -> tuple[Part, int, slice]:
        """The part of a piece, which of the part's layers it is of, and where its places are."""
        number = int(np.searchsorted(self._firsts, piece.chunk, side="right")) - 1
        part = self.parts[number]
        layer, chunk = divmod(piece.chunk - int(self._firsts[number]), len(part.cuts) - 1)
        start = int(part.cuts[chunk])
        return part, layer, slice(start + piece.low, start + piece.high)

    def read(self, piece: Piece, out: NDArray[Any]) -> None:
        """Fill `out` (row, hidden), C-contiguous, with a piece, converting to its dtype."""
        part, layer, where = self.of(piece)
        part.array.read(part.layer_indices[layer], part.places[where], out, threads=1)

    def label(self, piece: Piece, name: str) -> Ints | int:
        """A label of a piece's rows: (row,), or one number that all have."""
        part, layer, where = self.of(piece)
        if name == "layer":
            return part.layers[layer]
        return part.checkpoint if name == "checkpoint" else part.labels[name][where]

    @cached_property
    def _firsts(self) -> Ints:
        counts = [(len(part.cuts) - 1) * len(part.layers) for part in self.parts]
        return np.cumsum([0, *counts[:-1]])


def pooled_chunks(
    store: Store, selection: StateSelection, pooling: str, rows: Ints | None
) -> tuple[tuple[str, ...], Chunks]:
    """The checkpoints of a selection, and the chunks of some rows of them; None for all texts.

    Raises UnknownNameError, UnknownTextError, and MissingShardsError for what is not extracted.
    """
    wanted = store.text_rows() if rows is None else np.unique(np.asarray(rows, np.int64))
    groups = selected_groups(store, selection)
    parts = []
    for number, group in enumerate(groups):
        group.texts.require(wanted)
        group.require(pooling, wanted)
        array = group.sharded_array(f"{group.stored_pooling(pooling)}_pool")
        assert isinstance(array, ShardedArray)
        layers = selected_layers(group, selection.layers)
        labels = {"row": wanted}
        parts.append(Part(number, array, wanted, layers, _indices(group, layers), labels))
    return tuple(group.checkpoint for group in groups), _some(store, parts)


def token_chunks(
    store: Store, selection: StateSelection, sample: str, *, special_tokens: bool
) -> tuple[tuple[str, ...], Chunks]:
    """The checkpoints of a selection, and the chunks of a token sample's tokens.

    special_tokens: whether those that the tokenizer added (CLS, BOS, …) are among them.
    Raises UnknownNameError, and MissingShardsError for a sample that is not complete.
    """
    groups = selected_groups(store, selection)
    parts = []
    for number, group in enumerate(groups):
        tokens = group.token_sample(sample)
        if missing := tokens.todo():
            tokens.states_of(group.layers[0], missing[0].rows)  # raises, naming the sample
        used = (tokens.row >= 0) & (special_tokens | ~tokens.is_special)
        places = np.flatnonzero(used)
        labels = {
            name: getattr(tokens, name)[places].astype(np.int64)
            for name in ("row", "position", "token_id")
        }
        layers = selected_layers(group, selection.layers)
        indices = _indices(group, layers)
        parts.append(Part(number, tokens.array, places, layers, indices, labels))
    return tuple(group.checkpoint for group in groups), _some(store, parts)


def selected_groups(store: Store, selection: StateSelection) -> list[CheckpointGroup]:
    """The checkpoints of a selection, opened, in training order."""
    model = selection.model or store.only_model()
    return store.checkpoint_groups(model, store.select_checkpoints(model, selection.checkpoints))


def selected_layers(group: CheckpointGroup, layers: str) -> tuple[int, ...]:
    """The layers of a checkpoint that are meant. Raises UnknownNameError for one not stored."""
    if layers == "all":
        return group.layers
    known = [str(layer) for layer in group.layers]
    hint = "A checkpoint's layers are chosen once, when it is extracted."
    asked = parse_layers(layers, group.spec.n_blocks)
    return tuple(int(look_up("stored layer", str(layer), known, hint)) for layer in asked)


def _indices(group: CheckpointGroup, layers: Sequence[int]) -> tuple[int, ...]:
    return tuple(group.layers.index(layer) for layer in layers)


def _some(store: Store, parts: list[Part]) -> Chunks:
    if not any(len(part.places) for part in parts):
        raise InvalidInputError(
            f"The selection holds no states of {store.url}. See what there is: actstore info "
            f"{store.url}"
        )
    return Chunks(parts)
