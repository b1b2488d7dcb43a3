"""A disk that fails, and processes that are killed, at one step of what the storage does.

`storage.local` calls the system through its `os`, in whose place stands one that counts.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actstore.store.storage import local

CHANGES = frozenset({"write", "fsync", "link", "replace", "unlink", "mkdir", "ftruncate"})
READS = frozenset({"read", "preadv", "open", "fstat"})
LAST = 10**9
"""Number of a step that no run gets to."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL at one of the changes."""

    step: int
    """Numbered from 0."""
    when: str
    """`before`, `after`, or `amid`: half of what is to be written, otherwise as `before`."""

    calls = CHANGES

    def at(self, number: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if number < self.step:
            return call(*arguments)
        if self.when == "after":
            call(*arguments)
        if self.when == "amid" and call is os.write:
            descriptor, data = arguments
            call(descriptor, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@dataclass
class Full:
    """A disk that has room for some bytes; what no longer fits is written in part, and refused."""

    room: int
    number: int = errno.ENOSPC

    calls = frozenset({"write"})

    def at(self, _: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        descriptor, data = arguments
        if self.room <= 0:
            raise OSError(self.number, os.strerror(self.number))
        written = call(descriptor, data[: self.room])
        self.room -= written
        return written


@dataclass(frozen=True)
class Failing:
    """An error at some calls, from one of them on; `lasting`: at every later one too."""

    calls: frozenset[str]
    step: int
    number: int = errno.EIO
    lasting: bool = False

    def at(self, number: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if number == self.step or (self.lasting and number > self.step):
            raise OSError(self.number, os.strerror(self.number))
        return call(*arguments)


@dataclass(frozen=True)
class Short:
    """Reads and writes that are cut short, as the system may: each moves some bytes only."""

    most: int

    calls = frozenset({"write", "read", "preadv"})

    def at(self, _: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        first, what, *rest = arguments
        if call is os.preadv:
            return call(first, [what[0][: self.most]], *rest)
        return call(first, min(what, self.most) if call is os.read else what[: self.most])


Fault = Kill | Full | Failing | Short


class Counting:
    """`os`, but for the calls of a fault, which it counts."""

    def __init__(self, fault: Fault) -> None:
        self.fault, self.n_calls = fault, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.fault.calls:
            return real

        def call(*arguments: Any) -> Any:
            number = self.n_calls
            self.n_calls += 1
            return self.fault.at(number, real, arguments)

        return call


@contextmanager
def broken(fault: Fault) -> Iterator[Counting]:
    """Let the storage of this process meet a fault inside the block."""
    counting = Counting(fault)
    local.os = counting  # type: ignore[assignment]
    try:
        yield counting
    finally:
        local.os = os
