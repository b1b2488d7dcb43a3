"""What to tell of an error of the operating system: which file, why, and what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from actstore.errors import StorageError

_AGAIN = "What was committed stays: run the same command again."
_REMEDIES = {
    errno.ENOSPC: f"Make space there, or move the store to a larger disk. {_AGAIN}",
    errno.EDQUOT: f"Make space there, or ask for a larger quota. {_AGAIN}",
    errno.EFBIG: f"Raise the limit on the size of files (ulimit -f). {_AGAIN}",
    errno.EROFS: "Copy the store to where it can be written, or have its disk mounted for writing.",
    errno.EACCES: "Ask its owner for the permission to write, or choose another store.",
    errno.EPERM: "Ask its owner for the permission, or choose another store. If the file system "
    "has no hard links, choose one that has (ext4, XFS, NFS, Lustre).",
    errno.EOPNOTSUPP: "The store needs a file system with hard links (ext4, XFS, NFS, Lustre).",
    errno.EIO: f"The disk fails: ask who runs it. {_AGAIN} Then check: actstore verify STORE",
    errno.ESTALE: f"The file server has lost sight of it. {_AGAIN}",
    errno.ETIMEDOUT: f"The file server does not answer. {_AGAIN}",
    errno.EMFILE: f"Raise the limit on open files (ulimit -n). {_AGAIN}",
}
_ANSWERS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
"""What says that something is there or not: no failure, and told by who asked."""


def remedy(number: int | None) -> str:
    """What to do about an error of the system, by its number; empty where that is not known."""
    return _REMEDIES.get(number or 0, "")


@contextmanager
def failures_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise what the system refuses, or fails at, as StorageError that names the file.

    Whether something is there is no failure: FileNotFoundError and FileExistsError pass.
    """
    try:
        yield
    except (StorageError, *_ANSWERS):
        raise
    except OSError as error:
        where, why = error.filename or path, error.strerror or error
        failure = StorageError(f"{where}: {why}. {remedy(error.errno)}".rstrip())
        failure.errno = error.errno
        raise failure from error
