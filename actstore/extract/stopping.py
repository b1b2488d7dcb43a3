"""Being told to stop: by a scheduler before its time limit, or when a job is preempted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from actstore.errors import StoppedError

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_outermost: StopSignal | None = None
"""Of the block that the program is in."""


class StopSignal:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self.signal: str | None = None

    def check(self) -> None:
        """Raise StoppedError if it was."""
        if self.signal is not None:
            raise StoppedError(
                f"Stopped by {self.signal}. What was committed stays; run the same command again "
                "to go on."
            )


@contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Inside this block SIGTERM and SIGUSR1 raise StoppedError, wherever the program is.

    It is raised once; code that swallows it (a library's bare `except`) meets it again at the next
    `check`, also in a block inside this one. In a thread other than the main one, which gets no
    signals, nothing is changed.
    """
    global _outermost
    stop = _outermost or StopSignal()
    if _outermost or threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _: FrameType | None) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        stop.signal = signal.Signals(number).name
        stop.check()

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    _outermost = stop
    try:
        yield stop
    finally:
        _outermost = None
        for one, handler in before.items():
            signal.signal(one, handler)
