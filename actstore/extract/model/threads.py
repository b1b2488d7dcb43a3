"""How many threads torch computes with on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(n: int | None) -> Iterator[None]:
    """Compute with n threads inside this block; with torch's own choice for None.

    One is best for tiny models: several gain little, and where another process wants their cores
    they wait for each other most of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
