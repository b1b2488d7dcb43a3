"""A device whose copies to the host happen as late as they can, for tests on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor


class LateCopy:
    """An event of a copy that only happens when somebody waits for it."""

    def __init__(self, source: Tensor, target: Tensor) -> None:
        self.source, self.target, self.done = source, target, False

    def synchronize(self) -> None:
        with torch.inference_mode():
            self.target.copy_(self.source)
        self.done = True


class LateCopier:
    """A device whose copies are as late as they can be."""

    def __init__(self) -> None:
        self.buffers: list[Tensor] = []
        self.copies: list[LateCopy] = []

    def buffer(self, n_bytes: int) -> Tensor:
        self.buffers.append(torch.full((n_bytes,), 255, dtype=torch.uint8))
        return self.buffers[-1]

    def copy(self, source: Tensor, target: Tensor) -> LateCopy:
        pending = [copy for copy in self.copies if not copy.done]
        ours = target.untyped_storage().data_ptr()
        # The device would write into memory that still waits for another copy.
        assert all(ours != copy.target.untyped_storage().data_ptr() for copy in pending)
        self.copies.append(LateCopy(source, target))
        return self.copies[-1]
