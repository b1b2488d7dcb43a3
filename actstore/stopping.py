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
        self.held = False

    def hold(self) -> None:
        """From now to the end of the block raise nothing: cleaning up is not to be interrupted."""
        self.held = True

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

    It is raised once, and not while a thread is being started; the next `check` raises it again,
    where it was not raised or a library's `except Exception` swallowed it, also in a block inside
    this one. In a thread other than the main one, which gets no signals, nothing is changed.
    """
    global _outermost
    stop = _outermost or StopSignal()
    if _outermost or threading.current_thread() is not threading.main_thread():
        try:
            yield stop
        finally:
            stop.held = False
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = signal.Signals(number).name
            if not stop.held and not _starts_thread(frame):
                stop.check()

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    _outermost = stop
    try:
        yield stop
    finally:
        _outermost = None
        for one, handler in before.items():
            signal.signal(one, handler)


def _starts_thread(frame: FrameType | None) -> bool:
    """Whether a frame is inside Thread.start: an error there leaves a thread that is half there."""
    while frame is not None:
        if frame.f_code is threading.Thread.start.__code__:
            return True
        frame = frame.f_back
    return False
