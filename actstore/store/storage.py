"""Where a store's bytes live: keys under one root, created whole or not at all.

Everything above this file speaks in keys (`models/m/main/mean_pool/c.0.3.0`). A new kind of
storage implements `Storage` and passes `tests/store/test_storage.py`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from actstore.errors import CorruptShardError, InvalidInputError

Buffer = bytes | bytearray | memoryview
_WRITE_AT_ONCE = 64 << 20


class Reader(Protocol):
    """One open object."""

    size: int
    """Bytes."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`; CorruptShardError if the object ends before."""


class Storage(Protocol):
    """Keys and their bytes. Every write is atomic and durable when the call returns."""

    url: str

    def exists(self, key: str) -> bool: ...

    def read(self, key: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """A reader, for a with statement. Raises FileNotFoundError."""

    def create(self, key: str, data: Buffer) -> None:
        """Write a new object. Raises FileExistsError if there is one, and changes nothing then."""

    def replace(self, key: str, data: Buffer) -> None:
        """Write an object, in place of the one there is."""

    def share(self, source: str, key: str) -> None:
        """Make `key` hold the bytes of `source`, stored once where that can be.

        Neither changes when the other is replaced or deleted. Raises FileNotFoundError.
        """

    def append(self, key: str, line: bytes) -> None:
        """Add a line, whole or not at all, to an object that only this process appends to."""

    def names(self, prefix: str) -> list[str]:
        """Names right below a prefix, sorted; none if there is no such prefix."""

    def delete(self, key: str) -> None:
        """Remove an object; none there is no error."""

    def free_bytes(self) -> int | None:
        """Bytes that can still be written; None where that has no limit or cannot be told."""


class LocalStorage:
    """A folder on a file system that renames and links atomically (POSIX)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def path(self, key: str) -> Path:
        return self.root / key

    def exists(self, key: str) -> bool:
        return self.path(key).exists()

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        descriptor = os.open(self.path(key), os.O_RDONLY)
        try:
            yield _FileReader(descriptor, self.path(key))
        finally:
            os.close(descriptor)

    def create(self, key: str, data: Buffer) -> None:
        with self._partial(key, data) as partial:
            os.link(partial, self.path(key))
            partial.unlink()

    def replace(self, key: str, data: Buffer) -> None:
        with self._partial(key, data) as partial:
            partial.replace(self.path(key))

    def share(self, source: str, key: str) -> None:
        final = self.path(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        link = _partial_name(final)
        try:
            os.link(self.path(source), link)
            link.replace(final)
            _flush_folder(final.parent)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, one without hard links, or one link too many
            self.replace(key, self.read(source))
        finally:
            link.unlink(missing_ok=True)  # it is still there if both were the same file already

    def append(self, key: str, line: bytes) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        end = os.fstat(descriptor).st_size
        try:
            _write(descriptor, memoryview(line), path)
        except OSError:
            os.ftruncate(descriptor, end)  # behind half a line the next one could not be read
            raise
        finally:
            os.close(descriptor)

    def names(self, prefix: str) -> list[str]:
        try:
            return sorted(
                entry.name
                for entry in os.scandir(self.path(prefix))
                if not entry.name.endswith(".partial")
            )
        except FileNotFoundError:
            return []

    def delete(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def free_bytes(self) -> int | None:
        existing = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        stat = os.statvfs(existing)
        return stat.f_bavail * stat.f_frsize

    @contextmanager
    def _partial(self, key: str, data: Buffer) -> Iterator[Path]:
        """A complete, flushed file beside the final name; gone again whatever happens."""
        final = self.path(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(final)
        try:
            _write_flushed(partial, memoryview(data).cast("B"))
            yield partial
            _flush_folder(final.parent)
        finally:
            partial.unlink(missing_ok=True)


class _FileReader:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.size = os.fstat(descriptor).st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            got = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            if got == 0:
                raise CorruptShardError(
                    f"{self._path} ends at byte {offset + done}, {len(buffer) - done} bytes early. "
                    "Run: actstore verify STORE"
                )
            done += got


def _partial_name(final: Path) -> Path:
    """A name beside the final one that no other process takes and that is not listed."""
    return final.with_name(f"{final.name}.{uuid.uuid4().hex}.partial")


def _write_flushed(path: Path, data: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        _write(descriptor, data, path)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: memoryview, path: Path) -> None:
    """Write all of it and flush. Raises OSError that names the file."""
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written : written + _WRITE_AT_ONCE])
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_storage(url: str | os.PathLike[str]) -> LocalStorage:
    """The storage behind a store's path. Raises InvalidInputError for URLs of other kinds."""
    text = os.fspath(url)
    scheme, found, rest = text.partition("://")
    if not found:
        return LocalStorage(Path(text).expanduser())
    if scheme == "file":
        return LocalStorage(Path(rest))
    raise InvalidInputError(
        f"{text}: stores are kept on file systems; {scheme}:// is not supported yet. "
        "Give a local or mounted path, for instance ./pythia.zarr"
    )


def join(*parts: str) -> str:
    """A key of its parts: `join("models", "m", "main")` -> `models/m/main`."""
    return "/".join(parts)
