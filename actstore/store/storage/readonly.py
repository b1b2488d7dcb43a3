"""Stores that can only be read: `hf://`, `https://`, `zip://` and whatever else fsspec opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, unquote

from actstore.errors import ActstoreError, CorruptShardError, InvalidInputError, StorageError
from actstore.store.storage.base import Buffer, Reader, StoredObject, checked_key
from actstore.store.storage.concurrent import each
from actstore.store.storage.limits import require_size
from actstore.store.storage.patience import Patience, tries

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ABSENT = (FileNotFoundError, NotADirectoryError, KeyError)
"""What file systems of fsspec raise for what is not there; KeyError: zip."""
_FINAL = (*_ABSENT, ActstoreError, PermissionError, NotImplementedError, ValueError, TypeError)
_PACKED = ("zip", "tar", "libarchive")
_SERVERS = "Servers that do: nginx, Caddy, `rclone serve http`."


class ReadOnlyStorage:
    """Files below a path of a file system of fsspec."""

    rewrites_to_append = False

    def __init__(
        self,
        files: AbstractFileSystem,
        root: str,
        url: str,
        *,
        threads: int = 16,
        patience: Patience | None = None,
    ) -> None:
        """root: the path of the store in `files`. url: what `open_storage` opens it by."""
        self.url, self.threads = url, threads
        self._files, self._root = files, root.rstrip("/")
        self._patience = patience or Patience(tries=4)
        self._on_web = url.startswith(("http://", "https://"))
        self._lists = not self._on_web
        self._packed = url.partition(":")[0] in _PACKED

    def exists(self, key: str) -> bool:
        return bool(self._ask(key, lambda: self._files.exists(self._path(key))))

    def read(self, key: str) -> bytes:
        if self._packed:  # what it says of a file may be much more than it has of it
            require_size(self.url, key, self.size(key))
        return bytes(self._ask(key, lambda: self._files.cat_file(self._path(key))))

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        yield _Reader(self, key)

    def names(self, prefix: str) -> list[str]:
        self._require_listings()
        return self._names(prefix)

    def objects(self, prefix: str) -> list[StoredObject]:
        self._require_listings()
        self._files.invalidate_cache()
        path = self._path(prefix)
        try:
            found = self._ask(prefix, lambda: self._files.find(path, detail=True))
        except FileNotFoundError:
            return []
        keys = sorted(self._key(info["name"]) for info in found.values())
        sizes = {self._key(info["name"]): info.get("size") for info in found.values()}

        def size_of(key: str) -> int:
            told = sizes[key]  # a listing on the web tells none
            return self.size(key) if told is None else int(told)

        return [
            StoredObject(key, size)
            for key, size in zip(keys, each(self, size_of, keys), strict=True)
        ]

    def size(self, key: str) -> int:
        """Bytes of an object. Raises FileNotFoundError."""
        told = self._ask(key, lambda: self._files.info(self._path(key))).get("size")
        if told is None:
            raise StorageError(f"{self.url} does not tell how large {key} is. {_SERVERS}")
        return int(told)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Bytes of an object, fewer where it ends before."""
        path = self._path(key)
        return bytes(self._ask(key, lambda: self._files.cat_file(path, start=start, end=stop)))

    def create(self, key: str, data: Buffer) -> None:
        self._refuse()

    def replace(self, key: str, data: Buffer) -> None:
        self._refuse()

    def share(self, source: str, key: str) -> None:
        self._refuse()

    def append(self, key: str, line: bytes) -> None:
        self._refuse()

    def delete(self, key: str) -> None:
        self._refuse()

    def delete_below(self, prefix: str) -> None:
        self._refuse()

    def free_bytes(self) -> int | None:
        return None

    def _refuse(self) -> NoReturn:
        raise InvalidInputError(
            f"{self.url} is read only. Copy it first: actstore copy {self.url} ./store.zarr"
        )

    def _path(self, key: str) -> str:
        checked = checked_key(key, self.url)
        name = quote(checked) if self._on_web else checked
        return f"{self._root}/{name}" if key and self._root else self._root or name

    def _key(self, path: str) -> str:
        below = path.removeprefix(self._root).strip("/")
        return unquote(below) if self._on_web else below

    def _names(self, prefix: str) -> list[str]:
        self._files.invalidate_cache()
        path = self._path(prefix)
        try:
            found = self._ask(prefix, lambda: self._files.ls(path, detail=False))
        except FileNotFoundError:
            return []
        below = {self._key(one).removeprefix(prefix).strip("/") for one in found}
        # A page on the web also links to its parents, and to itself in another order (?C=M).
        return sorted(name for name in below if name and "/" not in name and "?" not in name)

    def _require_listings(self) -> None:
        """Raise InvalidInputError for a web server without listings: all would seem empty."""
        if not self._lists and "zarr.json" not in self._names("") and self.exists("zarr.json"):
            raise InvalidInputError(
                f"{self.url} has a store, but its server does not list folders. Serve it with "
                "listings (nginx: autoindex on), or copy its files to a disk and open that."
            )
        self._lists = True

    def _ask(self, key: str, question: Any) -> Any:
        """The answer to a question about a key, asked again where that may help.

        Raises FileNotFoundError where there is none, StorageError for whatever else goes wrong: the
        kinds of file systems have errors of their own.
        """
        for last in tries(self._patience, lambda error: not isinstance(error, _FINAL)):
            try:
                return question()
            except _ABSENT:
                raise FileNotFoundError(f"{self.url} has no {key}") from None
            except ActstoreError:
                raise
            except Exception as error:
                if last(error):
                    why = str(error) or type(error).__name__
                    raise StorageError(f"{self.url} did not give {key}: {why}") from error
        raise AssertionError("the last try returns or raises")


class _Reader:
    def __init__(self, storage: ReadOnlyStorage, key: str) -> None:
        self._storage, self._key = storage, key
        self._size: int | None = None

    @property
    def size(self) -> int:
        if self._size is None:
            self._size = self._storage.size(self._key)
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        try:
            data = self._storage.read_range(self._key, offset, end)
        except StorageError:
            self._require(end)  # a range that begins behind the end is refused
            raise
        if len(data) < len(buffer):
            self._require(end)
        if len(data) != len(buffer):
            raise StorageError(
                f"{self._storage.url} gave {len(data)} bytes of {self._key} where {len(buffer)} "
                f"were asked for: its server does not answer for ranges. {_SERVERS}"
            )
        buffer[:] = data

    def _require(self, end: int) -> None:
        early = end - self.size
        if early > 0:
            url = self._storage.url
            raise CorruptShardError(
                f"{url}/{self._key} ends at byte {self.size}, {early} bytes early. "
                f"Run: actstore verify {url}"
            )
