"""Texts through the model: batches in, states of every wanted layer out.

Nothing here waits for the device: while it computes a batch, the one before is copied to the host
and the one before that is read. Only running out of device memory splits a batch further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actstore.errors import InvalidInputError
from actstore.extract.model.compiling import compile_blocks
from actstore.extract.model.layers import run_layers
from actstore.extract.model.layouts import find_packing
from actstore.extract.model.learnt import Packing
from actstore.extract.model.load import LoadedModel, quiet
from actstore.extract.states.batching import Batch, Ints, batches, packed_batch, padded_batch
from actstore.extract.states.memory import DoesNotFitError, in_pieces
from actstore.extract.states.pooling import NamedPooling, pool_all
from actstore.extract.states.state_range import StatesOf, keep, require_range
from actstore.extract.states.transfer import Arrival, delayed, transfer_from

TOKEN_STATES = "states"


class TokenMetric(Protocol):
    """A number of each text, from its token states at one layer."""

    @property
    def name(self) -> str: ...

    @property
    def compute(self) -> Callable[[Tensor, Tensor], Tensor]:
        """(hidden, mask) -> (text,) float32. hidden: (text, token, hidden), padded on the right
        with whatever. mask: (text, token) bool. NaN where the number is undefined."""


@dataclass(frozen=True)
class ForwardSettings:
    """What of a forward is kept, and how it runs."""

    layers: tuple[int, ...]
    dtype: str
    """Of the states kept: float16 or float32."""
    batch_tokens: int
    """Most tokens in a batch, padding included; a longer text goes alone."""
    packed: bool | None = None
    """Run a batch's texts one behind the other, without padding. None: where attention kernels for
    it are in use and the model's states stay the same."""
    compile: bool = False
    """Compile the blocks before the first batch."""


@dataclass(frozen=True)
class BatchStates:
    """What came out of one batch."""

    texts: Ints
    """Which of the texts given: indices."""
    states: Mapping[str, NDArray[Any]]
    """By pooling: (layer, text, hidden). Token states: (layer, token, hidden), text after text."""
    max_abs: float
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By token metric: (layer, text)."""


def pooled_states(
    model: LoadedModel,
    token_ids: Sequence[Ints],
    rows: Ints,
    poolings: Sequence[NamedPooling],
    settings: ForwardSettings,
    token_metrics: Sequence[TokenMetric] = (),
) -> Iterator[BatchStates]:
    """Pooled states and token metrics of some texts, a batch at a time, longest texts first.

    token_ids: of each text. rows: (text,), what to call the texts in an error. Each layer is pooled
    on the device as it is produced. Raises StateRangeError for states that the kept dtype cannot
    hold, and InvalidInputError for a text that does not fit on the device alone.
    """
    norm = model.structure.final_norm
    assert norm or not any(p.normed for p in poolings), "without a norm, only raw states are stored"
    engine = _Engine(model, rows, settings)

    def start(texts: Ints) -> _Started:
        batch = engine.batch([token_ids[i] for i in texts])
        vectors: dict[str, list[Tensor]] = {pooling.name: [] for pooling in poolings}
        values: dict[str, list[Tensor]] = {metric.name: [] for metric in token_metrics}

        def take(_: int, states: Tensor) -> None:
            hidden = batch.by_text(states)
            real = batch.real.on(hidden.device)
            for named, pooled in zip(poolings, pool_all(hidden, real, poolings, norm), strict=True):
                vectors[named.name].append(pooled.to(model.device))
            for metric in token_metrics:
                values[metric.name].append(metric.compute(hidden, real.mask).to(model.device))

        engine.run(batch, take)
        sent = {name: [engine.send(of_one)] for name, of_one in vectors.items()}
        metrics = {name: engine.transfer.send(torch.stack(v)) for name, v in values.items()}
        return _Started(texts, rows[texts], sent, metrics)

    yield from engine.run_all(token_ids, start)


def token_states(
    model: LoadedModel, token_ids: Sequence[Ints], rows: Ints, settings: ForwardSettings
) -> Iterator[BatchStates]:
    """The states of every token of some texts, a batch at a time: as `pooled_states` does.

    Each layer leaves the device as it is produced.
    """
    engine = _Engine(model, rows, settings)

    def start(texts: Ints) -> _Started:
        batch = engine.batch([token_ids[i] for i in texts])
        sent: list[_Sent] = []
        engine.run(batch, lambda _, h: sent.append(engine.send([batch.tokens(h).to(model.device)])))
        of_tokens = np.repeat(rows[texts], batch.real.lengths)
        return _Started(texts, of_tokens, {TOKEN_STATES: sent}, {})

    yield from engine.run_all(token_ids, start)


@dataclass(frozen=True)
class _Sent:
    """States of some layers on their way to the host."""

    states: Arrival
    check: Arrival


@dataclass(frozen=True)
class _Started:
    """A batch that the device was given."""

    texts: Ints
    rows: Ints
    """Of each vector."""
    states: Mapping[str, Sequence[_Sent]]
    """Layer after layer."""
    values: Mapping[str, Arrival]


class _Engine:
    """Runs batches of one model under the same settings."""

    def __init__(self, model: LoadedModel, rows: Ints, settings: ForwardSettings) -> None:
        self.model, self.rows, self.settings = model, rows, settings
        self.transfer = transfer_from(model.device)
        self.packing = _packing(model, settings.packed)
        if settings.compile and not model.learnt.compiled:
            compile_blocks(model.structure)
            model.learnt.compiled = True

    def batch(self, token_ids: Sequence[Ints]) -> Batch:
        device = self.model.device
        if self.packing is not None:
            return packed_batch(token_ids, self.packing, device)
        padding = getattr(self.model.structure.base.config, "pad_token_id", None)
        padding = padding if isinstance(padding, int) else 0
        return padded_batch(token_ids, padding, self.model.masks, device)

    def run(self, batch: Batch, take: Callable[[int, Tensor], None]) -> None:
        structure, layers = self.model.structure, self.settings.layers
        with quiet():  # some models warn of padding that no mask covers
            run_layers(structure, batch.token_ids, batch.mask, layers, take, batch.inputs)

    def send(self, layers: Sequence[Tensor]) -> _Sent:
        """Begin to copy states, converted for storing. layers: (vector, hidden) each."""
        with torch.inference_mode():
            kept = keep(layers, getattr(torch, self.settings.dtype))
        return _Sent(self.transfer.send(kept.states), self.transfer.send(kept.check))

    def run_all(
        self, token_ids: Sequence[Ints], start: Callable[[Ints], _Started]
    ) -> Iterator[BatchStates]:
        lengths = np.array([len(ids) for ids in token_ids], np.int64)
        try:
            for started in delayed(self._started(lengths, start), self.transfer.in_flight):
                yield self._finished(started)
        except DoesNotFitError as error:
            raise InvalidInputError(
                f"The text in row {self.rows[error.text]} ({lengths[error.text]} tokens) does not "
                "fit on the device alone. Cut texts (--max-tokens), compute in half precision "
                "(--compute-dtype bfloat16) or use a larger device."
            ) from error

    def _started(self, lengths: Ints, start: Callable[[Ints], _Started]) -> Iterator[_Started]:
        packed = self.packing is not None

        def n_tokens(texts: Ints) -> int:
            return int(lengths[texts].sum() if packed else len(texts) * lengths[texts].max())

        for texts in batches(lengths, self.settings.batch_tokens, packed=packed):
            yield from in_pieces(texts, n_tokens, start, self.model.learnt)

    def _finished(self, started: _Started) -> BatchStates:
        """Wait for a batch and check it."""
        states, largest = {}, 0.0
        for name, sent in started.states.items():
            check = np.concatenate([one.check.array() for one in sent], axis=1)
            layers, dtype = self.settings.layers, self.settings.dtype
            what = StatesOf(name, layers, started.rows, dtype, self.model.dtype)
            largest = max(largest, require_range(check, what))
            arrays = [one.states.array() for one in sent]
            states[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        values = {name: arrival.array() for name, arrival in started.values.items()}
        return BatchStates(started.texts, states, largest, values)


def _packing(model: LoadedModel, wanted: bool | None) -> Packing | None:
    """How texts are packed; None if they are padded. Raises InvalidInputError if they cannot be."""
    if wanted is False or (wanted is None and not _has_flash_attention(model)):
        return None
    learnt = model.learnt
    if not learnt.packing_tried:
        learnt.packing, learnt.packing_tried = find_packing(model.structure), True
    if wanted and learnt.packing is None:
        raise InvalidInputError(
            f"{type(model.structure.base).__name__} cannot run packed texts with "
            f"{_attention(model)} attention: their states would not be those of each text alone. "
            "Leave --packed away, or try --attn flash_attention_2."
        )
    return learnt.packing


def _has_flash_attention(model: LoadedModel) -> bool:
    return "flash" in _attention(model)


def _attention(model: LoadedModel) -> str:
    """transformers' name of the attention implementation."""
    return str(getattr(model.structure.base.config, "_attn_implementation", None))
