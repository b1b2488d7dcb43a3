"""Tensors on their way from a device to the host, while the device goes on computing.

On CUDA a copy runs on a stream of its own into page-locked memory. The host reads that memory only
after the copy's event, and uses it again only after it was read: reading too early would store
torn batches without a word. Elsewhere a tensor is there at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

_SMALLEST_BUFFER = 1 << 16
T = TypeVar("T")


class Event(Protocol):
    """Something that a device will have done."""

    def synchronize(self) -> None:
        """Wait until it is done."""


class Copier(Protocol):
    """How a device copies to the host in the background."""

    def buffer(self, n_bytes: int) -> Tensor:
        """Host memory that the device can write into: uint8, (n_bytes,)."""

    def copy(self, source: Tensor, target: Tensor) -> Event:
        """Begin to copy, after what `source` still waits for; the event says when it is done."""


class Arrival(Protocol):
    """A tensor that was sent."""

    def array(self) -> NDArray[Any]:
        """Its values, once they are here; to be called once. The array is the caller's own."""


class Transfer:
    """Sends tensors to the host."""

    def __init__(self, copier: Copier | None) -> None:
        self.copier = copier
        self._free: list[Tensor] = []

    @property
    def in_flight(self) -> int:
        """How many batches should be on their way before the oldest is read."""
        return 2 if self.copier else 0

    def send(self, tensor: Tensor) -> Arrival:
        """Begin to copy a tensor that nobody changes any more."""
        if self.copier is None:
            return _Here(tensor.cpu())
        n_bytes = tensor.numel() * tensor.element_size()
        with torch.inference_mode():
            buffer = self._take(n_bytes)
            target = buffer[:n_bytes].view(tensor.dtype).view(tensor.shape)
            return _OnItsWay(self._free, buffer, target, self.copier.copy(tensor, target))

    def _take(self, n_bytes: int) -> Tensor:
        """The smallest free buffer that is large enough, or a new one."""
        fitting = [i for i, buffer in enumerate(self._free) if len(buffer) >= n_bytes]
        if fitting:
            return self._free.pop(min(fitting, key=lambda i: len(self._free[i])))
        assert self.copier is not None
        return self.copier.buffer(max(_SMALLEST_BUFFER, 1 << (n_bytes - 1).bit_length()))


class CudaCopier:
    """Copies from one CUDA device on a stream beside the computing one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffer(self, n_bytes: int) -> Tensor:
        return torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True)

    def copy(self, source: Tensor, target: Tensor) -> Event:
        self._stream.wait_stream(torch.cuda.current_stream(source.device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
        source.record_stream(self._stream)  # its memory is not given away while it is read
        done: Event = self._stream.record_event()
        return done


def transfer_from(device: torch.device) -> Transfer:
    """How tensors come from this device."""
    return Transfer(CudaCopier(device) if device.type == "cuda" else None)


def delayed(values: Iterable[T], by: int) -> Iterator[T]:
    """The values in order, each only after `by` more were made."""
    waiting: deque[T] = deque()
    for value in values:
        waiting.append(value)
        if len(waiting) > by:
            yield waiting.popleft()
    yield from waiting


class _Here:
    """A tensor in the host's memory."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def array(self) -> NDArray[Any]:
        array: NDArray[Any] = self._tensor.numpy()
        return array


class _OnItsWay:
    """A tensor that is being copied into a buffer."""

    def __init__(self, free: list[Tensor], buffer: Tensor, target: Tensor, event: Event) -> None:
        self._free, self._buffer, self._target, self._event = free, buffer, target, event

    def array(self) -> NDArray[Any]:
        self._event.synchronize()
        array: NDArray[Any] = self._target.numpy().copy()
        self._free.append(self._buffer)
        return array
