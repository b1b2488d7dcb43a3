"""Batches: which texts go together, and how they lie in a model's input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actstore.errors import InvalidTextError
from actstore.extract.model.learnt import Masks, Packing
from actstore.extract.states.batching import Batch, batches, packed_batch, padded_batch

CPU = torch.device("cpu")


def texts(*lengths: int) -> list[NDArray[np.int32]]:
    """Texts whose ids are all different."""
    bounds = np.cumsum((0, *lengths))
    return [np.arange(a, b, dtype=np.int32) for a, b in pairwise(bounds)]


def states_of(batch: Batch) -> torch.Tensor:
    """States that tell which token they are of: its id, twice."""
    return batch.token_ids[..., None].float().repeat(1, 1, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_batches_take_every_text_once_within_the_budget(packed: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    found = batches(lengths, 256, packed=packed)
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert all(len(b) * lengths[b].max() <= 256 or len(b) == 1 for b in found)
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)


def test_padding_takes_at_most_a_32nd_of_a_batch_or_48_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 5000)
    for batch in batches(lengths, 4096):
        padding = (lengths[batch].max() - lengths[batch]).sum()
        assert padding <= max(48, lengths[batch].sum() / 32)


def test_packed_batches_are_fewer() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    assert len(batches(lengths, 4096, packed=True)) < 0.8 * len(batches(lengths, 4096))


@pytest.mark.parametrize("lengths", [(3, 5, 1), (4, 4), (7,)])
def test_the_tokens_of_a_batch_are_its_texts_one_after_the_other(lengths: tuple[int, ...]) -> None:
    ids = texts(*lengths)
    for batch in (
        padded_batch(ids, 77, Masks.PADDED, CPU),
        packed_batch(ids, Packing(0), CPU),
    ):
        assert batch.tokens(states_of(batch))[:, 1].tolist() == np.concatenate(ids).tolist()


@pytest.mark.parametrize("lengths", [(3, 5, 1), (4, 4), (7,)])
def test_a_batch_by_text_has_each_texts_tokens_where_they_are_real(
    lengths: tuple[int, ...],
) -> None:
    ids = texts(*lengths)
    for batch in (
        padded_batch(ids, 77, Masks.PADDED, CPU),
        packed_batch(ids, Packing(0), CPU),
    ):
        by_text = batch.by_text(states_of(batch))
        assert by_text.shape == (len(ids), max(lengths), 2)
        for text, states, mask in zip(ids, by_text, batch.real.mask, strict=True):
            assert states[mask, 0].tolist() == text.tolist()


@pytest.mark.parametrize(
    ("masks", "lengths", "masked"),
    [
        (Masks.ALWAYS, (4, 4), True),
        (Masks.ALWAYS, (4, 3), True),
        (Masks.PADDED, (4, 4), False),
        (Masks.PADDED, (4, 3), True),
        (Masks.NEVER, (4, 3), False),
    ],
)
def test_a_mask_is_there_only_where_the_model_needs_one(
    masks: Masks, lengths: tuple[int, ...], masked: bool
) -> None:
    batch = padded_batch(texts(*lengths), 0, masks, CPU)
    assert (batch.mask is not None) == masked
    if batch.mask is not None:
        assert batch.mask.sum(dim=1).tolist() == list(lengths)


def test_packed_texts_have_positions_and_bounds_of_their_own() -> None:
    batch = packed_batch(texts(3, 5, 1), Packing(first_position=2), CPU)
    assert batch.token_ids.tolist() == [list(range(9))]
    assert batch.inputs["position_ids"].tolist() == [[2, 3, 4, 2, 3, 4, 5, 6, 2]]  # type: ignore
    assert batch.inputs["cu_seq_lens_q"].tolist() == [0, 3, 8, 9]  # type: ignore[union-attr]
    assert batch.inputs["cu_seq_lens_q"].dtype == torch.int32  # type: ignore[union-attr]
    assert batch.inputs["max_length_k"] == 5
    assert batch.mask is None


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_without_tokens_is_refused(packed: bool) -> None:
    ids = texts(4, 0)
    with pytest.raises(InvalidTextError, match="have no token"):
        packed_batch(ids, Packing(0), CPU) if packed else padded_batch(ids, 0, Masks.PADDED, CPU)
