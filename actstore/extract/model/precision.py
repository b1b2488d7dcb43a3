"""How exact float32 products are on NVIDIA devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def float32_precision(tf32: bool) -> Iterator[str]:
    """Compute float32 matrix products and convolutions in TF32 inside this block, or exactly.

    Gives what torch calls it: `tf32` (10 bits of mantissa) or `ieee` (23). It is set in either
    case: torch's default lets convolutions use TF32.
    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    """
    name = "tf32" if tf32 else "ieee"
    with ExitStack() as stack:
        for part in _parts():
            stack.callback(setattr, part, "fp32_precision", part.fp32_precision)
            part.fp32_precision = name
        yield name


def _parts() -> list[Any]:
    """What of torch has a precision of its own."""
    cudnn: Any = torch.backends.cudnn
    return [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
