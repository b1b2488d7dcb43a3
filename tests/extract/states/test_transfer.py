"""Copies that end late: what is read is what was sent, whatever the device does meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from actstore.extract.states.transfer import Transfer, delayed, transfer_from
from tests.support.late_copies import LateCopier, LateCopy


def tensors(n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(i % 5 + 1, 1 + i % 3, 4, generator=generator).half() for i in range(n)]


def test_an_array_is_read_only_after_its_event() -> None:
    copier = LateCopier()
    transfer = Transfer(copier)
    sent = tensors(3)
    arrivals = [transfer.send(tensor) for tensor in sent]
    assert not any(copy.done for copy in copier.copies)
    for arrival, tensor in zip(arrivals, sent, strict=True):
        np.testing.assert_array_equal(arrival.array(), tensor.numpy())


def test_a_buffer_is_used_again_only_after_it_was_read() -> None:
    copier = LateCopier()
    transfer = Transfer(copier)
    arrivals = delayed((transfer.send(tensor) for tensor in tensors(50)), by=2)
    kept = [arrival.array() for arrival in arrivals]
    assert len(copier.buffers) == 3  # never more than were in flight
    for array, tensor in zip(kept, tensors(50), strict=True):
        np.testing.assert_array_equal(array, tensor.numpy())


def test_a_larger_tensor_gets_a_larger_buffer() -> None:
    copier = LateCopier()
    transfer = Transfer(copier)
    for n in (10, 100_000, 10, 100_000):
        assert transfer.send(torch.arange(n)).array().tolist() == list(range(n))
    assert [len(buffer) for buffer in copier.buffers] == [1 << 16, 1 << 20]


def test_a_failing_copy_is_told_and_its_buffer_never_used_again() -> None:
    class Broken(LateCopy):
        def synchronize(self) -> None:
            raise RuntimeError("device lost")

    copier = LateCopier()
    transfer = Transfer(copier)
    arrival = transfer.send(torch.ones(3))
    arrival._event = Broken(torch.ones(3), torch.ones(3))  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="device lost"):
        arrival.array()
    transfer.send(torch.ones(3)).array()
    assert len(copier.buffers) == 2


def test_values_come_in_order_and_as_late_as_asked_for() -> None:
    made: list[int] = []

    def make() -> object:
        for i in range(5):
            made.append(i)
            yield i

    seen = [(value, len(made)) for value in delayed(make(), by=2)]
    assert seen == [(0, 3), (1, 4), (2, 5), (3, 5), (4, 5)]
    made.clear()
    assert [(value, len(made)) for value in delayed(make(), by=0)] == [(i, i + 1) for i in range(5)]


def test_on_a_cpu_a_tensor_is_there_at_once() -> None:
    transfer = transfer_from(torch.device("cpu"))
    tensor = torch.randn(4, 3)
    assert transfer.in_flight == 0
    assert transfer.send(tensor).array().tolist() == tensor.tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_from_a_busy_gpu_are_whole() -> None:
    device = torch.device("cuda")
    transfer = transfer_from(device)
    weight = torch.randn(2048, 2048, device=device) / 2048**0.5
    sums: list[Tensor] = []

    def compute() -> object:
        states = torch.randn(2048, 2048, device=device)
        for _ in range(40):
            for _ in range(20):
                states = states @ weight
            result = states.half()
            sums.append(result.float().sum())
            yield transfer.send(result)
            del result
            torch.full((2048, 2048), 7.0, device=device).half()  # takes freed memory, if it may

    for i, arrival in enumerate(delayed(compute(), by=transfer.in_flight)):
        assert arrival.array().astype(np.float32).sum() == pytest.approx(
            float(sums[i]), rel=1e-3, abs=1.0
        )
