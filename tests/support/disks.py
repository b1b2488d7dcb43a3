"""Small file systems of their own, which can be filled up and made read-only."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_PRIVATE, _READ_ONLY, _REMOUNT = 0x44000, 0x1, 0x20
"""Source: <sched.h>, <sys/mount.h> of Linux; mount(2), unshare(2)."""


def mount_small(folder: Path, n_bytes: int) -> None:
    """Mount an empty file system of this size that only this process and its children see.

    Raises OSError where that is not allowed.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call("unshare", _NEW_MOUNTS)
    else:
        _call("unshare", _NEW_MOUNTS | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", b"none", b"/", None, _PRIVATE, None)
    folder.mkdir(exist_ok=True)
    _call("mount", b"none", bytes(folder), b"tmpfs", 0, f"size={n_bytes}".encode())


def make_read_only(folder: Path) -> None:
    """Mount a file system of `mount_small` anew, for reading only."""
    _call("mount", b"none", bytes(folder), b"tmpfs", _READ_ONLY | _REMOUNT, None)


def make_writable(folder: Path, n_bytes: int) -> None:
    """Mount a file system of `mount_small` anew, for writing, with this size."""
    _call("mount", b"none", bytes(folder), b"tmpfs", _REMOUNT, f"size={n_bytes}".encode())


def fill(folder: Path) -> Path:
    """Write a file that takes all the space there is; returns it."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    return ballast


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
