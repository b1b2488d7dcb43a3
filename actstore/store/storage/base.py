"""What a storage is: keys under one root, whose bytes are created whole or not at all.

Everything above speaks in keys (`models/m/main/mean_pool/c.0.3.0`). A new kind of storage
implements `Storage` and passes `contract.py`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from actstore.errors import InvalidInputError

Buffer = bytes | bytearray | memoryview


class Reader(Protocol):
    """One open object."""

    @property
    def size(self) -> int:
        """Bytes. Raises FileNotFoundError."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`; CorruptShardError if the object ends before.

        Raises FileNotFoundError.
        """


@dataclass(frozen=True)
class StoredObject:
    """One object in a listing."""

    key: str
    size: int
    """Bytes."""


class Storage(Protocol):
    """Keys and their bytes. Every write is atomic and durable when the call returns."""

    url: str
    """What `open_storage` opens it by."""
    threads: int
    """How many reads at once are worth it, unless the caller says otherwise."""
    rewrites_to_append: bool
    """Whether `append` writes the whole object anew: what grows is then better cut in parts."""

    def exists(self, key: str) -> bool: ...

    def read(self, key: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """A reader, for a with statement. Raises FileNotFoundError, or its methods do."""

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

    def objects(self, prefix: str) -> list[StoredObject]:
        """All objects below a prefix, at any depth, by key; of the whole storage for an empty one.

        What a write that goes on, or was killed, keeps beside them is none.
        """

    def delete(self, key: str) -> None:
        """Remove an object; none there is no error."""

    def delete_below(self, prefix: str) -> None:
        """Remove all objects below a prefix; none there is no error."""

    def free_bytes(self) -> int | None:
        """Bytes that can still be written; None where that has no limit or cannot be told."""


def join(*parts: str) -> str:
    """A key of its parts: `join("models", "m", "main")` -> `models/m/main`."""
    return "/".join(parts)


def checked_key(key: str, url: str) -> str:
    """The key. Raises InvalidInputError for one that leads out of the storage at `url`."""
    parts = key.split("/")
    if ".." in parts or "." in parts or "\0" in key or (key and "" in parts):
        raise InvalidInputError(f"{key!r} is no key of a store: it leads out of {url}.")
    return key
