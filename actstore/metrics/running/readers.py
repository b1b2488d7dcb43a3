"""What reads a source, piece by piece, in whichever process: each gives blocks by layer.

Readers are small, and are sent with every task; a piece says which rows or texts to read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actstore.errors import MissingShardsError
from actstore.metrics.blocks import (
    LensBlock,
    PairBlock,
    PooledBlock,
    TokenBlock,
    ViewsBlock,
    spans_of,
)
from actstore.metrics.lens.decoders import Decoder
from actstore.metrics.lens.quantities import QUANTITIES, LensTokens, measure
from actstore.metrics.lens.reading import TokenNames
from actstore.metrics.registry import Metric
from actstore.metrics.running.decoding import decoder_of
from actstore.store import CheckpointGroup, LensHead, TokenSample, open_store

Piece: TypeAlias = NDArray[np.int64]
Block: TypeAlias = PooledBlock | PairBlock | ViewsBlock | TokenBlock | LensBlock


_PART_BYTES = 64 * 2**20
"""Bound on the states, of all layers, that a lens is given at once."""
_FEWEST_TOKENS = 16
"""Whatever they take: the lens reads the unembedding once for all of them."""


class Reader(Protocol):
    """Reads blocks of one source of one checkpoint."""

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, Block]:
        """What the metrics' chunks are given, by layer."""


@dataclass(frozen=True)
class Place:
    """A checkpoint of a store."""

    url: str
    model: str
    checkpoint: str
    plan: str
    """Digest of the plan it was made under: another one is another checkpoint."""

    def group(self) -> CheckpointGroup:
        return _group(self)

    def at(self, checkpoint: str) -> CheckpointGroup:
        """Another checkpoint of the model."""
        return open_store(self.url).checkpoint(self.model, checkpoint)


@dataclass(frozen=True)
class PooledReader:
    """Rows of a pooled array. A piece: (row,)."""

    place: Place
    pooling: str

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, PooledBlock]:
        group = self.place.group()
        return {
            layer: PooledBlock(group.read(self.pooling, layer, piece), piece) for layer in layers
        }


@dataclass(frozen=True)
class PairReader:
    """The same rows of a layer, and of the one that it is compared with. A piece: (row,)."""

    place: Place
    pooling: str
    references: tuple[tuple[int, str, int], ...]
    """For each layer the checkpoint and the layer to compare with."""

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, PairBlock]:
        return {
            layer: PairBlock(
                self.place.group().read(self.pooling, layer, piece),
                self.place.at(checkpoint).read(self.pooling, other, piece),
                piece,
            )
            for layer, checkpoint, other in self.references
            if layer in layers
        }


@dataclass(frozen=True)
class ViewsReader:
    """Views of texts. A piece: (text, 1 + view), the row of the text and those of its views."""

    place: Place
    pooling: str

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, ViewsBlock]:
        rows, views = piece[:, 0], piece[:, 1:]
        found = {}
        for layer in layers:
            flat = self.place.group().read(self.pooling, layer, views.ravel())
            found[layer] = ViewsBlock(flat.reshape(*views.shape, -1), rows)
        return found


@dataclass(frozen=True)
class TokenReader:
    """Texts of a token sample. A piece: (text, 3), each text's row and its range of tokens."""

    place: Place
    sample: str

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, TokenBlock]:
        sample = self.place.group().token_sample(self.sample)
        return {
            layer: TokenBlock(_states(sample, layer, piece), _spans(piece), piece[:, 0])
            for layer in layers
        }


@dataclass(frozen=True)
class LensReader:
    """What the lens says of texts of a token sample. A piece: as for TokenReader."""

    place: Place
    sample: str
    lens: str
    digest: str
    """Of the head and the lens: another one is read anew."""

    def blocks(
        self, layers: Sequence[int], piece: Piece, metrics: Sequence[Metric[Any, Any]]
    ) -> Mapping[int, LensBlock]:
        group = self.place.group()
        sample = group.token_sample(self.sample)
        read = _read_layers(group, layers, metrics)
        head, decoder, blank = _lens(self.place, self.lens, self.digest)
        spans = _spans(piece)
        token_id = _of_texts(sample.token_id, piece).astype(np.int64)
        about = LensTokens(token_id, spans, _next_ids(token_id, spans), read, blank)
        states = _token_parts(sample, read, piece, group.spec.hidden_size)
        wanted = dict.fromkeys(name for metric in metrics for name in metric.quantities)
        of_layers = measure(states, about, head, wanted, decoder=decoder)
        found = {}
        for layer in layers:
            place = read.index(layer)
            at_layer = {name: values[place] for name, values in of_layers.items()}
            found[layer] = LensBlock(at_layer, spans, piece[:, 0])
        return found


def _read_layers(
    group: CheckpointGroup, layers: Sequence[int], metrics: Sequence[Metric[Any, Any]]
) -> tuple[int, ...]:
    """The layers that the lens has to see: also the last one, and all for what is over depth."""
    if any(_over_depth(metric.quantities) for metric in metrics):
        return group.layers
    return tuple(sorted({*layers, group.spec.n_blocks}))


def _over_depth(names: Iterable[str]) -> bool:
    """Whether a quantity, or one that it is derived from, needs all layers below."""
    found = (QUANTITIES[name] for name in names)
    return any(one.over_depth or _over_depth(one.derived_from) for one in found)


def _spans(piece: Piece) -> NDArray[np.int64]:
    """(text, 2): where the texts are when they stand one behind the other."""
    return spans_of(piece[:, 2] - piece[:, 1])


def _states(sample: TokenSample, layer: int, piece: Piece) -> NDArray[np.float32]:
    """Of whole texts that lie near each other: (token, hidden)."""
    first, last = int(piece[:, 1].min()), int(piece[:, 2].max())
    return _of_texts(sample.states(layer, first, last), piece - np.array([0, first, first]))


def _token_parts(
    sample: TokenSample, layers: Sequence[int], piece: Piece, hidden: int
) -> Iterator[NDArray[np.float32]]:
    """The texts' states (layer, token, hidden), so many tokens at a time as fit the bound."""
    places = np.concatenate([np.arange(start, stop) for _, start, stop in piece])
    at_once = max(_FEWEST_TOKENS, _PART_BYTES // (4 * len(layers) * hidden))
    for some in np.split(places, range(at_once, len(places), at_once)):
        first, last = int(some[0]), int(some[-1]) + 1
        states = (sample.states(layer, first, last)[some - first] for layer in layers)
        yield np.stack(list(states))


def _of_texts(values: NDArray[Any], piece: Piece) -> NDArray[Any]:
    """(token, …) of the token axis -> of the texts, one behind the other."""
    return np.concatenate([values[start:stop] for _, start, stop in piece])


def _next_ids(token_id: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """(token,): the id that comes next in the text; -1 at its end."""
    following = np.append(token_id[1:], -1)
    following[spans[:, 1] - 1] = -1
    return following


@functools.lru_cache(maxsize=4)
def _group(place: Place) -> CheckpointGroup:
    return open_store(place.url).checkpoint(place.model, place.checkpoint)


@functools.lru_cache(maxsize=1)
def _lens(
    place: Place, lens: str, _digest: str
) -> tuple[LensHead, Decoder, NDArray[np.bool_] | None]:
    """Read once for many pieces: an unembedding may have a gigabyte. Also ids that are no words."""
    group = place.group()
    head = group.head()
    return head, decoder_of(group, lens), _never_copied(place, head)


def _never_copied(place: Place, head: LensHead) -> NDArray[np.bool_] | None:
    """(vocabulary,): special ids and those of no word; None where the store does not tell."""
    try:
        vocabulary = open_store(place.url).vocabulary(place.model)
    except MissingShardsError:
        return None
    return TokenNames.of(vocabulary, head.vocabulary_size).never_copied
