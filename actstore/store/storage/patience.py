"""Asking again: how often, and after which waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Last = Callable[[Exception], bool]
"""Says of the error of a try whether it is to be raised."""


@dataclass(frozen=True)
class Patience:
    """How often something is asked for that was not answered, or not to its end."""

    tries: int = 6
    first_wait: float = 0.1
    """Seconds before the second try; twice as many before each further one."""
    seconds: float = 60.0
    """No try is begun later than this after the first."""


def tries(patience: Patience, may_pass: Callable[[Exception], bool]) -> Iterator[Last]:
    """Tries of something that may fail, with waits between them.

    may_pass: whether another try may do better after an error.

    Each try gets a function that says whether its error is to be raised, as no other try will come.
    Waits are exponential with jitter.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    end = time.monotonic() + patience.seconds
    for number in range(patience.tries):
        wait = patience.first_wait * 2**number * random.uniform(0.5, 1)
        more = number + 1 < patience.tries

        def last(error: Exception, wait: float = wait, more: bool = more) -> bool:
            return not (more and time.monotonic() + wait < end and may_pass(error))

        yield last
        time.sleep(wait)
