"""Batches that do not fit go through in halves, and what did not fit is remembered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actstore.extract.model.learnt import Learnt
from actstore.extract.states.batching import Ints
from actstore.extract.states.memory import DoesNotFitError, in_pieces


class Device:
    """Has room for so many texts of one token."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.tried = room, list[int]()
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")

    def run(self, texts: Ints) -> list[int]:
        self.tried.append(len(texts))
        if len(texts) > self.room:
            raise self.error
        return [int(text) for text in texts]


def pieces(n: int, device: Device, learnt: Learnt) -> list[list[int]]:
    return list(in_pieces(np.arange(n), len, device.run, learnt))


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    device = Device(room=3)
    assert pieces(9, device, Learnt()) == [[0, 1], [2, 3], [4, 5], [6, 7, 8]]
    assert device.tried == [9, 4, 2, 2, 2, 3]  # 5 is known to be too many


def test_what_did_not_fit_is_not_tried_again() -> None:
    device, learnt = Device(room=3), Learnt()
    first = pieces(9, device, learnt)
    assert learnt.too_large == 4
    device.tried.clear()
    assert pieces(9, device, learnt) == first
    assert max(device.tried) <= 3


@pytest.mark.parametrize("n", [4, 5, 8, 9, 12])
def test_what_is_remembered_changes_no_batch(n: int) -> None:
    fresh, taught = Learnt(), Learnt()
    pieces(16, Device(room=3), taught)
    assert pieces(n, Device(room=3), taught) == pieces(n, Device(room=3), fresh)


def test_a_text_that_does_not_fit_alone_is_named() -> None:
    with pytest.raises(DoesNotFitError) as raised:
        pieces(4, Device(room=0), Learnt())
    assert raised.value.text == 0


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_other_ways_to_say_out_of_memory_are_understood(message: str) -> None:
    assert len(pieces(4, Device(2, RuntimeError(message)), Learnt())) == 2


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="device-side assert"):
        pieces(4, Device(2, RuntimeError("CUDA error: device-side assert triggered")), Learnt())
