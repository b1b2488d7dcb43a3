"""Which ways of laying out texts leave a model's states as they are, found out by trying.

Two questions, asked of a few tokens of every model. Do tokens that are not a text's own reach it?
They are changed: on the same shapes the same kernels run, so that any influence shows beyond
rounding, however faint, in every dtype. Are positions right? The embeddings (layer 0) must be those
of the text alone. Where in doubt, texts are masked and padded, which is right for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.extract.model.blocks import ModelStructure
from actstore.extract.model.layers import run_layers
from actstore.extract.model.learnt import Masks, Packing
from actstore.extract.model.placement import device_of, to_device

_LENGTHS = (9, 5, 11)
"""Of the texts of the probe."""
_LONGEST_TRIAL = 4096
"""Tokens. Models for longer texts compute positions instead of keeping a table."""
_INFLUENCE = 1e-6
"""Relative change of states below which nothing reached them."""
_SAME = 0.1
"""Median over the hidden units of a difference, in standard deviations over tokens: kernels for
other shapes round otherwise, in bfloat16 by several hundredths after many blocks. What a wrong mask
or position does is of the order of 1."""

Inputs = Mapping[str, Tensor | int]


@dataclass(frozen=True)
class _States:
    """(token, hidden) in float32 on the CPU."""

    first: Tensor
    """Layer 0."""
    last: Tensor


def masks_needed(structure: ModelStructure) -> Masks:
    """Which batches of right-padded texts need an attention mask for the states of real tokens."""
    if not _makes_no_mask_of_its_own(structure):
        return Masks.ALWAYS
    return Masks.NEVER if _looks_back_only(structure) else Masks.PADDED


def find_packing(structure: ModelStructure) -> Packing | None:
    """How texts can be packed into one row so that each has the states it has alone, if they can.

    transformers keeps packed texts apart by position ids that begin anew (masks) and by cumulated
    lengths (flash attention); models that take neither let texts mix, and are found out here.
    """
    padding = _padding_id(structure)
    starts = (0,) if padding is None else (0, padding + 1)
    return next((p for p in map(Packing, starts) if _keeps_texts_apart(structure, p)), None)


def packed_inputs(
    lengths: NDArray[np.integer[Any]], packing: Packing, device: torch.device | str
) -> dict[str, Tensor | int]:
    """What a model takes beside the ids (1, token) of texts of these lengths."""
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + packing.first_position
    bounds = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
    bounds, longest = to_device(bounds, device), int(lengths.max())
    return {
        "position_ids": to_device(torch.from_numpy(positions[None]), device),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def states_stay_the_same(structure: ModelStructure, change: Callable[[], object]) -> bool:
    """Whether a model has the same states after it was changed, but for rounding."""
    texts = _texts(structure, seed=0)
    before = [_run(structure, text, None) for text in texts]
    change()
    after = [_run(structure, text, None) for text in texts]
    return all(_same(a, b) for a, b in zip(after, before, strict=True))


def _makes_no_mask_of_its_own(structure: ModelStructure) -> bool:
    """Whether no mask means that all tokens are real, also those that look like padding."""
    ids, padding = _texts(structure, seed=0)[0], _padding_id(structure)
    masked = _run(structure, ids, torch.ones(len(ids), dtype=torch.bool))
    if not _same(_run(structure, ids, None), masked):
        return False
    if padding is None:
        return True
    ids[1::2] = padding
    before = _run(structure, ids, None)
    with _other_embedding(structure, ids == padding):
        after = _run(structure, ids, None)
    return not _untouched(_every_other(before), _every_other(after))


def _looks_back_only(structure: ModelStructure) -> bool:
    """Whether tokens after a text's end do not reach it, without a mask."""
    text, *_, tail = _texts(structure, seed=0)
    others = [
        tail,
        _texts(structure, seed=1)[-1],
        torch.full_like(tail, _padding_id(structure) or 0),
    ]
    alone = _run(structure, text, None)
    padded = [
        _part(_run(structure, torch.cat([text, other]), None), 0, len(text)) for other in others
    ]
    return _same(padded[0], alone) and all(_untouched(a, b) for a, b in pairwise(padded))


def _keeps_texts_apart(structure: ModelStructure, packing: Packing) -> bool:
    texts, others = _texts(structure, seed=0), _texts(structure, seed=1)
    alone = [_run(structure, text, torch.ones(len(text), dtype=torch.bool)) for text in texts]
    packed = _run_packed(structure, texts, packing)
    if packed is None or not all(_same(a, b) for a, b in zip(packed, alone, strict=True)):
        return False
    for i, states in enumerate(packed):
        mixed = [
            text if j == i else other
            for j, (text, other) in enumerate(zip(texts, others, strict=True))
        ]
        again = _run_packed(structure, mixed, packing)
        if again is None or not _untouched(states, again[i]):
            return False
    return True


def _run_packed(
    structure: ModelStructure, texts: list[Tensor], packing: Packing
) -> list[_States] | None:
    """States of each text, at the end of a row; None if the model does not take what it needs.

    Rows are longer than any text may be, so this one is too: some models have no place for that.
    """
    row = texts * (_positions(structure) // sum(_LENGTHS) + 1)
    lengths = np.array([len(text) for text in row])
    inputs = packed_inputs(lengths, packing, _device(structure))
    try:
        states = _run(structure, torch.cat(row), None, inputs)
    except (TypeError, ValueError, IndexError, RuntimeError):
        return None
    bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [_part(states, start, stop) for start, stop in pairwise(bounds)][-len(texts) :]


def _run(
    structure: ModelStructure, ids: Tensor, mask: Tensor | None, inputs: Inputs | None = None
) -> _States:
    """States of one row of ids: (token,)."""
    device, kept = _device(structure), list[Tensor]()
    run_layers(
        structure,
        ids[None].to(device),
        None if mask is None else mask[None].to(device),
        (0, structure.n_blocks),
        lambda _, states: kept.append(states[0].float().to("cpu", copy=True)),
        inputs,
    )
    return _States(kept[0], kept[1])


@contextmanager
def _other_embedding(structure: ModelStructure, tokens: Tensor) -> Iterator[None]:
    """Have some tokens embedded otherwise inside this block. tokens: (token,) bool."""

    def change(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
        noise = torch.randn(embedded.shape[-1], generator=torch.Generator().manual_seed(2))
        noise = noise * embedded.float().std().cpu() * tokens.unsqueeze(-1)
        return embedded + noise.to(embedded)

    embedding: nn.Module = structure.base.get_input_embeddings()  # type: ignore[operator]
    handle = embedding.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _every_other(states: _States) -> _States:
    return _States(states.first[::2], states.last[::2])


def _part(states: _States, start: int, stop: int) -> _States:
    return _States(states.first[start:stop], states.last[start:stop])


def _same(one: _States, other: _States) -> bool:
    """True if both are the states of one text, computed on batches of other shapes."""
    first = torch.allclose(one.first, other.first, rtol=1e-2, atol=1e-2 * _size(other.first))
    scale = other.last.std(dim=0).clamp(min=1e-3 * _size(other.last))
    difference = (one.last - other.last).square().mean(dim=0).sqrt() / scale
    return first and float(difference.median()) < _SAME


def _size(states: Tensor) -> float:
    """The usual |value|."""
    return float(states.abs().median())


def _untouched(one: _States, other: _States) -> bool:
    return float((one.last - other.last).norm()) <= _INFLUENCE * float(one.last.norm())


def _texts(structure: ModelStructure, seed: int) -> list[Tensor]:
    """Random texts of _LENGTHS, away from the special ids."""
    vocabulary = int(structure.base.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    low, high = min(8, vocabulary // 2), min(vocabulary, 5000)
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(low, high, (n,), generator=generator) for n in _LENGTHS]


def _positions(structure: ModelStructure) -> int:
    """Tokens of the longest text; 0 where they are too many for a trial."""
    positions = getattr(structure.base.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions <= _LONGEST_TRIAL else 0


def _padding_id(structure: ModelStructure) -> int | None:
    padding = getattr(structure.base.config, "pad_token_id", None)
    return padding if isinstance(padding, int) else None


def _device(structure: ModelStructure) -> torch.device:
    return device_of(structure.base.get_input_embeddings())  # type: ignore[operator]
