"""Batches that do not fit on the device, in halves.

A batch is halved wherever it turns out too large: the same halves whether that was found by trying
or is remembered from another batch, so that no number depends on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from actstore.extract.model.learnt import Learnt
from actstore.extract.states.batching import Ints

_MESSAGES = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""Of errors that are no torch.OutOfMemoryError: of the driver, of CPU memory, of cuBLAS."""
T = TypeVar("T")


class DoesNotFitError(Exception):
    """A single text that is too large for the device."""

    def __init__(self, text: int) -> None:
        super().__init__(text)
        self.text = text


def in_pieces(
    texts: Ints, n_tokens: Callable[[Ints], int], run: Callable[[Ints], T], learnt: Learnt
) -> Iterator[T]:
    """What `run` makes of these texts; if the device runs out of memory, of each half.

    n_tokens: of some texts as a batch. Raises DoesNotFitError for a text that is too large alone.
    """
    size, limit = n_tokens(texts), learnt.too_large
    if limit is None or size < limit or len(texts) == 1:
        try:
            done = run(texts)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not _out_of_memory(error):
                raise
            if len(texts) == 1:
                raise DoesNotFitError(int(texts[0])) from error
            learnt.too_large = size if limit is None else min(size, limit)
        else:
            yield done
            return
        torch.cuda.empty_cache()  # once the error, which holds on to tensors, is gone
    middle = len(texts) // 2
    for half in (texts[:middle], texts[middle:]):
        yield from in_pieces(half, n_tokens, run, learnt)


def _out_of_memory(error: RuntimeError) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(message in str(error) for message in _MESSAGES)
