"""Names of files that are not all there yet: each says which process writes it.

A process that is killed leaves such a file behind. That it is dead is known at once on the machine
where it ran; for one of another machine only the file's age tells.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

from actstore.store.sharing.processes import host_name, is_gone, process_space, process_started

ENDING = ".partial"
_KEPT = 80
"""Characters of the final name that are kept, for who looks into the folder."""
_NAME = re.compile(r".*\.(?P<host>[^.]*)\.(?P<space>[0-9a-f]{16})\.(?P<pid>\d+)\.(?P<at>\d+)\.\w+")


@dataclass(frozen=True)
class Writer:
    """The process that writes an unfinished file."""

    host: str
    space: str
    """Digest of `processes.process_space`."""
    pid: int
    started: int
    """When it began, in clock ticks since boot; 0 where that is not known."""

    def is_dead(self) -> bool:
        """Whether it is known to have ended; False for one that cannot be seen from here."""
        here = process_space()
        return self.space == _digest(here) and is_gone(here, self.pid, self.started or None)


def unfinished_name(final: str) -> str:
    """A name that no other process takes, for a file that will be called `final`."""
    return f"{final[:_KEPT]}.{_writer(os.getpid())}.{uuid.uuid4().hex[:12]}{ENDING}"


def writer_of(name: str) -> Writer | None:
    """Who writes an unfinished file; None for a name that does not say it."""
    found = _NAME.fullmatch(name.removesuffix(ENDING))
    if not found:
        return None
    return Writer(found["host"], found["space"], int(found["pid"]), int(found["at"]))


@cache
def _writer(pid: int) -> str:
    """By process id: a forked child has a name of its own."""
    return f"{host_name()}.{_digest(process_space())}.{pid}.{process_started(pid) or 0}"


def _digest(space: str) -> str:
    return blake2b(space.encode(), digest_size=8).hexdigest()
