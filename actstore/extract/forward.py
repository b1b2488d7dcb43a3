"""Texts through the model: batches in, states of every wanted layer out.

Batches are a pure function of a shard's texts and the settings: sorted by length, as many texts as
the token budget takes. So the numbers of a shard do not depend on where a run began or resumed.
Only running out of device memory splits a batch further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actstore.errors import InvalidInputError, StateRangeError
from actstore.extract.layers import run_layers
from actstore.extract.load import LoadedModel
from actstore.extract.pooling import NamedPooling, require_tokens

Ints = NDArray[np.integer[Any]]
TOKEN_STATES = "states"


@dataclass(frozen=True)
class ForwardSettings:
    """What of a forward is kept, and how much goes through at once."""

    layers: tuple[int, ...]
    dtype: str
    """Of the states kept: float16 or float32."""
    batch_tokens: int
    """Most tokens in a batch, padding included; a longer text goes alone."""


@dataclass(frozen=True)
class BatchStates:
    """What came out of one batch."""

    texts: Ints
    """Which of the texts given: indices."""
    states: Mapping[str, NDArray[Any]]
    """By pooling: (layer, text, hidden). Token states: (layer, token, hidden), text after text."""
    max_abs: float


def pooled_states(
    model: LoadedModel,
    token_ids: Sequence[Ints],
    rows: Ints,
    poolings: Sequence[NamedPooling],
    settings: ForwardSettings,
) -> Iterator[BatchStates]:
    """Pooled states of some texts, a batch at a time, longest texts first.

    token_ids: of each text. rows: (text,), what to call the texts in an error. Each layer is pooled
    on the device as it is produced. Raises StateRangeError for states that the kept dtype cannot
    hold, and InvalidInputError for a text that does not fit on the device alone.
    """

    def run(texts: Ints) -> BatchStates:
        ids, mask = _padded([token_ids[i] for i in texts], model)
        vectors: dict[str, list[Tensor]] = {pooling.name: [] for pooling in poolings}

        def take(_: int, hidden: Tensor) -> None:
            normed = _normed(model, hidden) if any(p.normed for p in poolings) else hidden
            for named in poolings:
                source = normed if named.normed else hidden
                vectors[named.name].append(named.pooling.pool(source, mask))

        run_layers(model.structure, ids, mask, settings.layers, take)
        return _kept(vectors, texts, rows[texts], settings)

    yield from _run_all(token_ids, rows, settings.batch_tokens, run)


def token_states(
    model: LoadedModel, token_ids: Sequence[Ints], rows: Ints, settings: ForwardSettings
) -> Iterator[BatchStates]:
    """The states of every token of some texts, a batch at a time: as `pooled_states` does."""

    def run(texts: Ints) -> BatchStates:
        ids, mask = _padded([token_ids[i] for i in texts], model)
        layers: list[Tensor] = []
        run_layers(model.structure, ids, mask, settings.layers, lambda _, h: layers.append(h[mask]))
        lengths = [len(token_ids[i]) for i in texts]
        return _kept({TOKEN_STATES: layers}, texts, np.repeat(rows[texts], lengths), settings)

    yield from _run_all(token_ids, rows, settings.batch_tokens, run)


def batches(lengths: Ints, batch_tokens: int) -> list[Ints]:
    """Indices of the texts of each batch, longest first; ties keep their order.

    lengths: (text,), tokens. A batch's texts times its longest text is at most batch_tokens, of
    which padding takes at most one in 64: beyond that, another batch costs less than the padding.
    """
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    found: list[Ints] = []
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        fitting = order[start : start + max(1, batch_tokens // max(1, longest))]
        padding = np.cumsum(longest - lengths[fitting])
        stop = start + int(np.searchsorted(padding, batch_tokens // 64, side="right"))
        found.append(order[start:stop])
        start = stop
    return found


def _run_all(
    token_ids: Sequence[Ints], rows: Ints, batch_tokens: int, run: Callable[[Ints], BatchStates]
) -> Iterator[BatchStates]:
    lengths = np.array([len(ids) for ids in token_ids], np.int64)
    for texts in batches(lengths, batch_tokens):
        yield from _in_pieces(texts, rows, lengths, run)


def _in_pieces(
    texts: Ints, rows: Ints, lengths: Ints, run: Callable[[Ints], BatchStates]
) -> Iterator[BatchStates]:
    """Run a batch; if the device runs out of memory, its halves."""
    try:
        done = run(texts)
    except torch.OutOfMemoryError as error:
        if len(texts) == 1:
            raise InvalidInputError(
                f"The text in row {rows[texts[0]]} ({lengths[texts[0]]} tokens) does not fit on "
                "the device alone. Cut texts (--max-tokens), compute in half precision "
                "(--compute-dtype bfloat16) or use a larger device."
            ) from error
    else:
        yield done
        return
    torch.cuda.empty_cache()
    middle = len(texts) // 2
    for half in (texts[:middle], texts[middle:]):
        yield from _in_pieces(half, rows, lengths, run)


def _padded(token_ids: Sequence[Ints], model: LoadedModel) -> tuple[Tensor, Tensor]:
    """Ids and mask (text, token) on the model's device, padded on the right."""
    width = max(len(ids) for ids in token_ids)
    padding = model.structure.base.config.pad_token_id  # type: ignore[union-attr]
    ids = np.full((len(token_ids), width), padding if isinstance(padding, int) else 0, np.int64)
    lengths = np.array([len(one) for one in token_ids])
    mask = np.arange(width) < lengths[:, None]
    ids[mask] = np.concatenate(list(token_ids))
    require_tokens(torch.from_numpy(mask))
    return torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)


def _normed(model: LoadedModel, hidden: Tensor) -> Tensor:
    norm = model.structure.final_norm
    assert norm is not None, "without a final norm, the raw pooling is what is stored"
    normed: Tensor = norm(hidden)
    return normed


def _kept(
    states: Mapping[str, list[Tensor]], texts: Ints, rows: Ints, settings: ForwardSettings
) -> BatchStates:
    """The states as they will be stored, on the CPU; rows: of each vector."""
    arrays, largest = {}, 0.0
    for name, layers in states.items():
        computed = torch.stack(layers)
        kept = computed.to(getattr(torch, settings.dtype))
        _require_finite(kept, computed, name, rows, settings)
        largest = max(largest, float(kept.abs().max()))
        arrays[name] = kept.cpu().numpy()
    return BatchStates(texts, arrays, largest)


def _require_finite(
    kept: Tensor, computed: Tensor, name: str, rows: Ints, settings: ForwardSettings
) -> None:
    finite = kept.isfinite()
    if bool(finite.all()):
        return
    bad = (~finite.all(dim=-1)).cpu().numpy()
    layer = int(bad.any(axis=1).argmax())
    where = list(dict.fromkeys(rows[bad[layer]].tolist()))
    if computed[layer].isfinite().all():
        why = f"{float(computed[layer].abs().max()):.4g} is beyond {settings.dtype}"
        remedy = "Store the states in --dtype float32 (in another store, if this one has begun)."
    else:
        why = f"the model's own states are infinite or NaN (computed in {computed.dtype})"
        remedy = "Compute in --compute-dtype bfloat16 or float32, and store in --dtype float32."
    raise StateRangeError(
        f"States of layer {settings.layers[layer]} ({name}) cannot be stored for {len(where)} "
        f"texts, rows {where[:5]}: {why}. {remedy}"
    )
