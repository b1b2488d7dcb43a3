"""Texts to batches: which go together, and the tensors a model takes for them.

Batches are a pure function of a shard's texts and the settings: sorted by length, as many texts as
the token budget takes. So the numbers of a shard do not depend on where a run began or resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actstore.extract.model.layouts import packed_inputs
from actstore.extract.model.learnt import Masks, Packing
from actstore.extract.model.placement import to_device
from actstore.extract.states.pooling import RealTokens, require_tokens

Ints = NDArray[np.integer[Any]]
_FREE_PADDING = 48
_REAL_FOR_PADDING = 32


def batches(lengths: Ints, batch_tokens: int, *, packed: bool = False) -> list[Ints]:
    """Indices of the texts of each batch, longest first; ties keep their order.

    lengths: (text,), tokens. A batch's texts times its longest text is at most batch_tokens. Of
    padding it has at most one token for 32 real ones, or 48: with more, another batch costs less
    than the padding. Packed texts need none, and go together whatever their lengths.
    """
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    found: list[Ints] = []
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        fitting = order[start : start + max(1, batch_tokens // max(1, longest))]
        real = np.cumsum(lengths[fitting], dtype=np.int64)
        padding = longest * np.arange(1, len(fitting) + 1) - real
        too_much = padding > np.maximum(_FREE_PADDING, real // _REAL_FOR_PADDING)
        n = int(too_much.argmax()) if too_much.any() and not packed else len(fitting)
        found.append(order[start : start + n])
        start += n
    return found


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts as a model takes them, on its device."""

    token_ids: Tensor
    """(text, token), padded on the right; packed: (1, token), text after text."""
    mask: Tensor | None
    """(text, token) bool for the model's attention; None where the states are the same without."""
    real: RealTokens
    """Of the texts, padded on the right."""
    places: Tensor | None
    """Padded: where in the rows, one behind the other, the real tokens are. Packed: where each
    token of the texts, padded on the right, is in the row. None where nothing is padded."""
    packed: bool = False
    inputs: Mapping[str, Tensor | int] = field(default_factory=dict)
    """What else the model takes."""

    def by_text(self, hidden: Tensor) -> Tensor:
        """States as (text, token, hidden), with whatever on padding."""
        if not self.packed:
            return hidden
        shape = *self.real.mask.shape, hidden.shape[-1]
        return _rows(hidden, self.places).reshape(shape)

    def tokens(self, hidden: Tensor) -> Tensor:
        """States of the real tokens: (token, hidden), text after text."""
        return _rows(hidden, None if self.packed else self.places)


def padded_batch(
    token_ids: Sequence[Ints], padding: int, masks: Masks, device: torch.device
) -> Batch:
    """Texts padded on the right to the longest of them. padding: the token id that stands there.

    Raises InvalidTextError for a text without tokens.
    """
    lengths = _lengths(token_ids)
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(real.shape, padding, np.int64)
    ids[real] = np.concatenate(token_ids)
    places = None if real.all() else to_device(torch.from_numpy(np.flatnonzero(real)), device)
    tokens = RealTokens.of(lengths, device)
    masked = masks is Masks.ALWAYS or (masks is Masks.PADDED and places is not None)
    token_row = to_device(torch.from_numpy(ids), device)
    return Batch(token_row, tokens.mask if masked else None, tokens, places)


def packed_batch(token_ids: Sequence[Ints], packing: Packing, device: torch.device) -> Batch:
    """Texts one behind the other in one row, without padding and without a mask.

    Raises InvalidTextError for a text without tokens.
    """
    lengths = _lengths(token_ids)
    ids = np.concatenate(token_ids).astype(np.int64)[None]
    starts = np.cumsum(lengths) - lengths
    longest = int(lengths.max())
    places = None
    if (lengths < longest).any():
        at = np.minimum(starts[:, None] + np.arange(longest), ids.size - 1)
        places = to_device(torch.from_numpy(at.reshape(-1)), device)
    return Batch(
        to_device(torch.from_numpy(ids), device),
        None,
        RealTokens.of(lengths, device),
        places,
        packed=True,
        inputs=packed_inputs(lengths, packing, device),
    )


def _lengths(token_ids: Sequence[Ints]) -> NDArray[np.int64]:
    lengths = np.array([len(ids) for ids in token_ids], np.int64)
    require_tokens(lengths)
    return lengths


def _rows(hidden: Tensor, places: Tensor | None) -> Tensor:
    """These rows of all tokens, or all of them: (row, hidden)."""
    flat = hidden.reshape(-1, hidden.shape[-1])
    return flat if places is None else flat.index_select(0, places.to(flat.device))
