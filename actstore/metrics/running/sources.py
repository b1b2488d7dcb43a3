"""What the store has that metrics can be computed from, and where it lacks something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.addresses import absolute
from actstore.errors import MissingShardsError, UnknownNameError
from actstore.metrics.blocks import RowNumbers
from actstore.metrics.registry import ORDER, Metric, Over
from actstore.metrics.running.chosen import Chosen
from actstore.metrics.running.decoding import require_lens
from actstore.metrics.running.readers import (
    LensReader,
    PairReader,
    Place,
    PooledReader,
    Reader,
    TokenReader,
    ViewsReader,
)
from actstore.metrics.running.references import Reference
from actstore.metrics.running.request import MetricsRequest
from actstore.store import CheckpointGroup, ShardLayout, Store, TokenSample

_PIECE_BYTES = 32 * 2**20
"""Of the rows of a pooled array that are read at once, in float64."""
_TOKENS = 4096
_LENS_TOKENS = 512
"""Of all layers at once."""
AnyMetric = Metric[Any, Any]


@dataclass(frozen=True)
class Source:
    """Stored data of one checkpoint, and the metrics to be computed from it."""

    metrics: tuple[AnyMetric, ...]
    label: str
    """As values are recorded: `mean_pool`, `tokens/sample`."""
    reader: Reader
    layers: tuple[int, ...]
    data: NDArray[np.int64]
    """(row, …), ascending: what pieces are cut from."""
    cut_by: NDArray[np.int64]
    """(row,): the place on the stored axis."""
    piece_length: int
    """On that axis: pieces are cut at its multiples, and so share no shard."""
    inputs: str
    """Digest of all that values depend on, apart from the metrics' definitions."""
    pairs_limit: int
    """See `Chosen.pairs_limit`."""
    bytes_per_row: int
    """Of one layer, about."""

    @property
    def rows(self) -> RowNumbers:
        """(row,): the texts."""
        return self.data if self.data.ndim == 1 else self.data[:, 0]


@dataclass(frozen=True)
class Finder:
    """Finds the sources of one checkpoint for one choice of texts."""

    store: Store
    request: MetricsRequest
    group: CheckpointGroup
    layers: tuple[int, ...]
    chosen: Chosen

    def sources(self, metrics: Sequence[AnyMetric], notes: dict[str, None]) -> Iterator[Source]:
        """Every source there is for them; notes: is told what is not there, and what to type.

        Raises MissingShardsError and UnknownNameError instead where metrics, or the data that they
        are computed from, were asked for by name.
        """
        for kind in ORDER:
            wanted = tuple(metric for metric in metrics if metric.over == kind)
            if not wanted:
                continue
            try:
                yield from list(self._of_kind(kind, wanted))
            except (UnknownNameError, MissingShardsError) as error:
                if self.request.metrics or self._named(kind):
                    raise
                notes[f"{', '.join(metric.name for metric in wanted)}: {error}"] = None

    def _named(self, kind: Over) -> bool:
        """Whether data of this kind must be there, because they are everywhere or were named."""
        match kind:
            case "pooled" | "pairs":
                return True
            case "views":
                return bool(self.request.view_sets)
            case "tokens" | "lens":
                return bool(self.request.token_samples) or self.request.lenses != ("final",)

    def _of_kind(self, kind: Over, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        match kind:
            case "pooled":
                return self._pooled(metrics)
            case "pairs":
                return self._pairs(metrics)
            case "views":
                return self._views(metrics)
            case "tokens":
                return self._tokens(metrics)
            case "lens":
                return self._lens(metrics)

    def _pooled(self, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        limit = self.chosen.pairs_limit(self.chosen.rows)
        for pooling in self._poolings():
            self.group.require(pooling, self.chosen.rows)
            yield self._source(
                metrics,
                f"{pooling}_pool{self.chosen.label}",
                PooledReader(self._place, pooling),
                self.chosen.rows,
                limit,
            )

    def _pairs(self, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        limit = self.chosen.pairs_limit(self.chosen.rows)
        for reference in map(Reference.named, self.request.against):
            found = {layer: reference.of(self.store, self.group, layer) for layer in self.layers}
            there = tuple((layer, *other) for layer, other in found.items() if other is not None)
            if not there:
                continue
            names = [name for _, name, _ in there]
            others = self.store.checkpoint_groups(self.group.model, names)
            for pooling in self._poolings():
                for group in {other.checkpoint: other for other in (self.group, *others)}.values():
                    group.require(pooling, self.chosen.rows)
                yield self._source(
                    metrics,
                    f"{pooling}_pool{self.chosen.label}/against={reference.name}",
                    PairReader(self._place, pooling, there),
                    self.chosen.rows,
                    limit,
                    layers=tuple(layer for layer, _, _ in there),
                    also=[other.spec.digest() for other in others] + [str(there)],
                    arrays=2,
                )

    def _views(self, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        names = self.request.view_sets or tuple(self.store.views())
        if not names:
            url = self.store.url
            raise MissingShardsError(
                f"{url} has no views of its texts. Make them: actstore views {url} --views 16, "
                "then run the same actstore extract command again: it adds their states."
            )
        for name in names:
            views = self.store.view_set(name)
            kept = np.isin(views.source_rows, self.chosen.draw(views.source_rows))
            data = np.column_stack([views.source_rows[kept], views.rows[kept]])
            data = data[np.argsort(data[:, 0])]
            if not len(data):
                raise MissingShardsError(f"None of the chosen texts has views in {name!r}.")
            for pooling in self._poolings():
                self.group.require(pooling, np.unique(data[:, 1:]))
                yield self._source(
                    metrics,
                    f"views/{name}/{pooling}_pool{self.chosen.label}",
                    ViewsReader(self._place, pooling),
                    data,
                    self.chosen.pairs_limit(data[:, 0]),
                    arrays=data.shape[1] - 1,
                )

    def _tokens(self, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        for sample, texts in self._samples():
            yield self._source(
                metrics,
                f"tokens/{sample.name}{self.chosen.label}",
                TokenReader(self._place, sample.name),
                texts,
                self.chosen.pairs_limit(texts[:, 0]),
                also=[sample.name, sample.token_id],
                tokens=_TOKENS,
                arrays=int((texts[:, 2] - texts[:, 1]).mean()) + 1,
            )

    def _lens(self, metrics: tuple[AnyMetric, ...]) -> Iterator[Source]:
        for sample, texts in self._samples():
            for lens in self.request.lenses:
                digest = require_lens(self.group, lens)
                named = "" if lens == "final" else f"/lens={lens}"
                yield self._source(
                    metrics,
                    f"tokens/{sample.name}{self.chosen.label}{named}",
                    LensReader(self._place, sample.name, lens, digest),
                    texts,
                    self.chosen.pairs_limit(texts[:, 0]),
                    also=[sample.name, sample.token_id, digest],
                    tokens=_LENS_TOKENS,
                )

    def _samples(self) -> Iterator[tuple[TokenSample, NDArray[np.int64]]]:
        """Each token sample with its chosen texts: (text, 3), row and range of tokens."""
        names = self.request.token_samples or self.group.token_samples()
        url, model, checkpoint = self.store.url, self.group.model, self.group.checkpoint
        if not names:
            raise MissingShardsError(
                f"{url} has no token states of {model} at {checkpoint}. Run: actstore extract "
                f"{url} --model {quote(model)} --checkpoints {quote(checkpoint)} --tokens 200"
            )
        for name in names:
            sample = self.group.token_sample(name)
            if missing := sample.todo():
                raise MissingShardsError(
                    f"The token sample {name!r} of {model} at {checkpoint} lacks {len(missing)} "
                    "shards. Run the same actstore extract command again: it finishes it."
                )
            texts = sample.spans[["row", "start", "stop"]].to_numpy(np.int64)
            texts = texts[np.isin(texts[:, 0], self.chosen.draw(texts[:, 0]))]
            if not len(texts):
                raise MissingShardsError(
                    f"None of the chosen texts is in the token sample {name!r} of {model} at "
                    f"{checkpoint}. Choose others, or extract a sample of these: --tokens 20/task"
                )
            yield sample, texts

    def _poolings(self) -> dict[str, None]:
        return dict.fromkeys(self.group.stored_pooling(name) for name in self.request.poolings)

    @property
    def _place(self) -> Place:
        group = self.group
        url = absolute(group.storage.url)
        return Place(url, group.model, group.checkpoint, group.spec.digest())

    def _source(
        self,
        metrics: tuple[AnyMetric, ...],
        label: str,
        reader: Reader,
        data: NDArray[np.int64],
        pairs_limit: int,
        *,
        layers: tuple[int, ...] | None = None,
        also: Sequence[str | NDArray[Any]] = (),
        tokens: int | None = None,
        arrays: int = 1,
    ) -> Source:
        """tokens: for a token sample, how many of its tokens are read at once."""
        return Source(
            metrics=metrics,
            label=label,
            reader=reader,
            layers=self.layers if layers is None else layers,
            data=data,
            cut_by=data if data.ndim == 1 else data[:, 0 if tokens is None else 1],
            piece_length=tokens or _rows_per_piece(self.group.layout),
            inputs=_digest(self.group.spec.digest(), label, data, *also),
            pairs_limit=pairs_limit,
            bytes_per_row=arrays * self.group.layout.hidden_size * 4,
        )


def _rows_per_piece(layout: ShardLayout) -> int:
    """Whole shards if they fit the bound, else whole inner chunks."""
    fit = _PIECE_BYTES // (8 * layout.hidden_size)
    whole = layout.rows_per_shard if fit >= layout.rows_per_shard else layout.rows_per_chunk
    return max(whole, fit // whole * whole)


def _digest(*parts: str | NDArray[Any]) -> str:
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part.encode() if isinstance(part, str) else part.tobytes())
        state.update(b"\0")
    return state.hexdigest()
