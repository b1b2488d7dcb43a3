"""Files: the storage of a store on a file system that renames and links atomically (POSIX).

An object is written under an unfinished name, flushed, and given its own name in one step: `link`,
which refuses a name that is taken, or `rename`, which replaces. Then the folder is flushed, and the
folders above it that were new. What each crash leaves: docs/durability.md.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from actstore.errors import CorruptShardError, InvalidInputError
from actstore.store.storage.base import Buffer, Reader, StoredObject, checked_key
from actstore.store.storage.failures import failures_named
from actstore.store.storage.limits import require_size
from actstore.store.storage.unfinished import ENDING, unfinished_name

_WRITE_AT_ONCE = 8 << 20
"""Bytes, after which the disk is told to begin: it works while the next ones are copied."""
_TRIES_OF_A_READ = 3
"""Another client of a file server may replace an object while it is read (ESTALE)."""
_CANNOT_FLUSH_FOLDERS = (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF)


class LocalStorage:
    """A folder."""

    threads = 1
    rewrites_to_append = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)
        self._lasting: set[Path] = set()
        """Folders whose names this process has flushed."""
        self._inside = {root}
        """Folders that were found to be in the root."""

    def path(self, key: str) -> Path:
        """Where a key's file is.

        Raises InvalidInputError for a key that leads out of the root, by its words or by a symbolic
        link: who made the store may be a stranger, and who opens it may send it on.
        """
        path = self.root / checked_key(key, self.url)
        if key:
            self._require_inside(path.parent)
        return path

    def _followed(self, key: str) -> Path:
        """Where a key's file is, for what follows a link that stands in its place."""
        path = self.path(key)
        if os.path.islink(path):
            self._require_inside(path)
        return path

    def exists(self, key: str) -> bool:
        path = self.path(key)
        with failures_named(path):
            return path.exists()

    def read(self, key: str) -> bytes:
        path = self._followed(key)
        with failures_named(path):
            for _ in range(_TRIES_OF_A_READ - 1):
                try:
                    return self._read(path, key)
                except OSError as error:
                    if error.errno != errno.ESTALE:
                        raise
            return self._read(path, key)

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        path = self._followed(key)
        with failures_named(path):
            descriptor = os.open(path, os.O_RDONLY)
        try:
            yield _FileReader(descriptor, path)
        finally:
            os.close(descriptor)

    def create(self, key: str, data: Buffer) -> None:
        final = self.path(key)
        with failures_named(final), self._unfinished(final, data) as partial:
            try:
                _link(partial, final)
            except FileExistsError:
                _flush_folder(final.parent)  # the caller may rely on what is there
                raise
            os.unlink(partial)

    def replace(self, key: str, data: Buffer) -> None:
        final = self.path(key)
        with failures_named(final), self._unfinished(final, data) as partial:
            os.replace(partial, final)

    def share(self, source: str, key: str) -> None:
        final = self.path(key)
        with failures_named(final):
            self._make_folder(final.parent)
        link = final.with_name(unfinished_name(final.name))
        try:
            os.link(self._followed(source), link)
            os.replace(link, final)
            _flush_folder(final.parent)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, one without hard links, or one link too many
            self.replace(key, self.read(source))
        finally:
            _remove(link)  # it is still there if both were the same file already

    def append(self, key: str, line: bytes) -> None:
        path = self._followed(key)
        with failures_named(path):
            self._make_folder(path.parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            end = os.fstat(descriptor).st_size
            try:
                _write(descriptor, memoryview(line))
                if end == 0:
                    _flush_folder(path.parent)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)  # behind half a line no other could be read
                raise
            finally:
                os.close(descriptor)

    def names(self, prefix: str) -> list[str]:
        path = self._followed(prefix)
        try:
            with failures_named(path):
                return sorted(n for n in os.listdir(path) if not n.endswith(ENDING))
        except FileNotFoundError:
            return []

    def objects(self, prefix: str) -> list[StoredObject]:
        found = []
        for folder, names in _files_below(self._followed(prefix)):
            for name in names:
                path = Path(folder, name)
                if not name.endswith(ENDING):
                    with suppress(FileNotFoundError), failures_named(path):  # deleted meanwhile
                        key = path.relative_to(self.root).as_posix()
                        found.append(StoredObject(key, os.stat(path).st_size))
        return sorted(found, key=lambda one: one.key)

    def unfinished(self, prefix: str) -> list[Path]:
        """The files below a prefix that are being written, or were by a process that was killed."""
        return [
            Path(folder, name)
            for folder, names in _files_below(self._followed(prefix))
            for name in names
            if name.endswith(ENDING)
        ]

    def delete(self, key: str) -> None:
        path = self.path(key)
        with failures_named(path), suppress(FileNotFoundError):
            os.unlink(path)
            _flush_folder(path.parent)

    def delete_below(self, prefix: str) -> None:
        path = self.path(prefix)
        with failures_named(path), suppress(FileNotFoundError):
            shutil.rmtree(path)
            _flush_folder(path.parent)

    def free_bytes(self) -> int | None:
        existing = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        stat = os.statvfs(existing)
        return stat.f_bavail * stat.f_frsize

    def _read(self, path: Path, key: str) -> bytes:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            parts, left = [], os.fstat(descriptor).st_size
            require_size(self.url, key, left)
            while left and (part := os.read(descriptor, left)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def _require_inside(self, path: Path) -> None:
        """Raise InvalidInputError if a link above a path, or itself, leads out of the root."""
        if path in self._inside:
            return
        self._require_inside(path.parent)
        if os.path.islink(path):
            real, root = os.path.realpath(path), os.path.realpath(self.root)
            if real != root and not real.startswith(root.rstrip("/") + "/"):
                raise InvalidInputError(
                    f"{path} is a link that leads out of the store, to {real}. A store holds what "
                    "is in its own folder: put a copy in the link's place, or leave it out."
                )
        self._inside.add(path)

    @contextmanager
    def _unfinished(self, final: Path, data: Buffer) -> Iterator[Path]:
        """A complete, flushed file beside the final name; gone again whatever happens."""
        self._make_folder(final.parent)
        partial = final.with_name(unfinished_name(final.name))
        try:
            _write_new(partial, memoryview(data).cast("B"))
            yield partial
            _flush_folder(final.parent)
        finally:
            _remove(partial)

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and those above it, so that their names outlast a loss of power too.

        Another process may have made one and not flushed its name yet: so each process does, once.
        """
        there = folder.is_dir()
        own = folder != self.root and folder.is_relative_to(self.root)
        if there and (not own or folder in self._lasting):
            return
        self._make_folder(folder.parent)
        if not there:
            with suppress(FileExistsError):
                os.mkdir(folder)
        _flush_folder(folder.parent)
        self._lasting.add(folder)


class _FileReader:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @property
    def size(self) -> int:
        with failures_named(self._path):
            return os.fstat(self._descriptor).st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            with failures_named(self._path):
                got = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            if got == 0:
                raise CorruptShardError(
                    f"{self._path} ends at byte {offset + done}, {len(buffer) - done} bytes early. "
                    "Run: actstore verify STORE"
                )
            done += got


def _write_new(path: Path, data: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: memoryview) -> None:
    """Write all of it and flush. Not tried again after an error: the kernel drops what failed.

    Source: https://wiki.postgresql.org/wiki/Fsync_Errors
    """
    written = 0
    while written < len(data):
        length = os.write(descriptor, data[written : written + _WRITE_AT_ONCE])
        if written + length < len(data):
            _begin_flushing(descriptor, written, length)
        written += length
    os.fsync(descriptor)


def _begin_flushing(descriptor: int, start: int, length: int) -> None:
    """Have bytes written to the disk without waiting; errors are those of the flush at the end.

    Linux does so when it is told that the pages are not needed; it drops none that are not written.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def _link(partial: Path, final: Path) -> None:
    """Give a file its name unless that is taken. Raises FileExistsError.

    A file server whose answer is lost is asked again by the system, and then says that the name
    is taken: by this file, which has two names now. Source: open(2), O_EXCL.
    """
    try:
        os.link(partial, final)
    except FileExistsError:
        if os.stat(partial).st_nlink < 2:
            raise


def _remove(partial: Path) -> None:
    with suppress(FileNotFoundError):
        os.unlink(partial)


def _files_below(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder and the names of its files; one that cannot be listed is an error."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # deleted meanwhile
            raise error

    with failures_named(folder):
        for path, _, names in os.walk(folder, onerror=fail):
            yield path, names


def _flush_folder(folder: Path) -> None:
    """Make names in a folder last; some file systems do that by themselves and refuse."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written to and not be listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH_FOLDERS:
            raise
    finally:
        os.close(descriptor)
