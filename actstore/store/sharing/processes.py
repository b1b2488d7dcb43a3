"""Processes: which machine one runs on, and whether it still does."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
MOST_PID = 1 << 30
"""Systems count processes to fewer; what is more, a file of a stranger's says."""


def host_name() -> str:
    """This machine's name, without its domain."""
    return socket.gethostname().partition(".")[0]


@cache
def process_space() -> str:
    """What this process shares with those whose process ids it can look up.

    Containers on one machine, and a machine before and after it was started anew, count processes
    each for themselves. Linux names both: a boot id, and the pid namespace (namespaces(7)).
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{host_name()} {boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return host_name()


def process_started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: what tells it from a later one of its id.

    0 for one that has ended and waits for its parent to notice; None where it cannot be told.
    Source: proc_pid_stat(5), fields 3 and 22.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_gone(space: str, pid: int, started: int | None) -> bool:
    """Whether a process is known to have ended; False for one that cannot be seen from here."""
    if space != process_space():
        return False
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    now = process_started(pid)
    return now is not None and now != started
