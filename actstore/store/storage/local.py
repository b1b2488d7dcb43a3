"""Files: the storage of a store on a file system that renames and links atomically (POSIX)."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from actstore.errors import CorruptShardError
from actstore.store.storage.base import Buffer, Reader, StoredObject, checked_key

_WRITE_AT_ONCE = 64 << 20
_PARTIAL = ".partial"
"""How the names of files end that are not all there yet."""


class LocalStorage:
    """A folder."""

    threads = 1
    rewrites_to_append = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def path(self, key: str) -> Path:
        """Where a key's file is. Raises InvalidInputError for a key that leads out of the root."""
        return self.root / checked_key(key, self.url)

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
                if not entry.name.endswith(_PARTIAL)
            )
        except FileNotFoundError:
            return []

    def objects(self, prefix: str) -> list[StoredObject]:
        found = []
        for folder, _, names in os.walk(self.path(prefix)):
            for name in names:
                path = Path(folder, name)
                if not name.endswith(_PARTIAL):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        key = path.relative_to(self.root).as_posix()
                        found.append(StoredObject(key, path.stat().st_size))
        return sorted(found, key=lambda one: one.key)

    def delete(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path(prefix))

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

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

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
    return final.with_name(f"{final.name}.{uuid.uuid4().hex}{_PARTIAL}")


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
