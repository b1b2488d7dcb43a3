"""Object stores: the storage of a store in a bucket (`s3://`) or in memory, through obstore.

An object appears whole when its put is answered, so that nothing partial is ever seen. What takes
the place of a lock is the conditional put: `create` asks for `If-None-Match: *`, `append` for the
version that was read. A put whose answer was lost may have happened. Every put therefore carries a
token of its own, so that one that meets its own object knows it.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeVar

import obstore as obs
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from actstore.errors import StorageError
from actstore.store.storage.base import Buffer, Reader, StoredObject, checked_key
from actstore.store.storage.object_reader import ObjectReader, version_of
from actstore.store.storage.patience import Patience, tries
from actstore.store.storage.refusals import answer, may_pass, told

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

_TOKEN = "actstore-put"
"""The attribute of an object (`x-amz-meta-actstore-put`) that says which put made it."""
_KNOWN = 64
"""Of so many objects that were appended to, the bytes are kept."""

_ROUNDS = 8
"""An object that is appended to is read again so often, if it is not as it was left."""
T = TypeVar("T")
Mode = Literal["create", "overwrite"]


@dataclass(frozen=True)
class _Appended:
    """An object that this process appends to."""

    data: bytes
    version: UpdateVersion | None
    """None: there is no such object yet."""


class ObjectStorage:
    """Objects in a bucket, or in memory."""

    rewrites_to_append = True

    def __init__(
        self,
        store: ObjectStore,
        url: str,
        *,
        reads: ObjectStore | None = None,
        threads: int = 16,
        patience: Patience | None = None,
    ) -> None:
        """url: what `open_storage` opens the same objects by.

        reads: the same objects through a client that is used to read; None: through the same.
        """
        self.url, self.threads = url, threads
        self._store, self._reads = store, reads or store
        self._patience = patience or Patience()
        self._appended: dict[str, _Appended] = {}
        self._lock = Lock()

    def exists(self, key: str) -> bool:
        try:
            self._size(key)
        except FileNotFoundError:
            return False
        return True

    def read(self, key: str) -> bytes:
        return self._reader(key).read()

    @contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        yield self._reader(key)

    def create(self, key: str, data: Buffer) -> None:
        try:
            self._put(key, data, "create")
        except AlreadyExistsError:
            raise FileExistsError(f"{self.url} already has {key}") from None

    def replace(self, key: str, data: Buffer) -> None:
        self._put(key, data, "overwrite")

    def share(self, source: str, key: str) -> None:
        path, new = checked_key(source, self.url), checked_key(key, self.url)
        self._ask(source, lambda: obs.copy(self._store, path, new))

    def append(self, key: str, line: bytes) -> None:
        """As the protocol says. An object store cannot append: the whole object is put anew."""
        with self._lock:
            known = self._appended.pop(key, _Appended(b"", None))
            for _ in range(_ROUNDS):
                if self._appended_to(key, known, line):
                    return
                known = self._read_to_append(key)
        raise StorageError(
            f"{self.url} keeps refusing a line of {key}: another process writes it, or the server "
            "does not know conditional puts (If-Match). Use a server that does."
        )

    def names(self, prefix: str) -> list[str]:
        below = self._prefix(prefix)
        found = self._ask(prefix, lambda: obs.list_with_delimiter(self._reads, below))
        paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted(path.rsplit("/", 1)[-1] for path in paths)

    def objects(self, prefix: str) -> list[StoredObject]:
        below = self._prefix(prefix)
        found = self._ask(prefix, lambda: obs.list(self._reads, below).collect())
        return sorted(
            (StoredObject(one["path"], one["size"]) for one in found), key=lambda one: one.key
        )

    def delete(self, key: str) -> None:
        self._delete([checked_key(key, self.url)])

    def delete_below(self, prefix: str) -> None:
        self._delete([one.key for one in self.objects(prefix)])

    def free_bytes(self) -> int | None:
        return None

    def _reader(self, key: str) -> ObjectReader:
        return ObjectReader(self._reads, checked_key(key, self.url), self.url, self._patience)

    def _size(self, key: str) -> int:
        return self._reader(key).size

    def _prefix(self, prefix: str) -> str | None:
        return checked_key(prefix, self.url) if prefix else None

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            self._appended.pop(key, None)
        if keys:
            self._ask(keys[0], lambda: obs.delete(self._store, keys))

    def _ask(self, key: str, question: Callable[[], T]) -> T:
        return answer(self.url, key, self._patience, question)

    def _appended_to(self, key: str, known: _Appended, line: bytes) -> bool:
        """Put an object with one line more; False if it is not as this process knows it."""
        data = known.data + line
        try:
            version = self._put(key, data, "create" if known.version is None else known.version)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return False
        self._appended[key] = _Appended(data, version)
        if len(self._appended) > _KNOWN:
            del self._appended[next(iter(self._appended))]
        return True

    def _read_to_append(self, key: str) -> _Appended:
        reader = self._reader(key)
        try:
            data = reader.read()
        except FileNotFoundError:
            return _Appended(b"", None)
        return _Appended(data, reader.version)

    def _put(self, key: str, data: Buffer, mode: Mode | UpdateVersion) -> UpdateVersion:
        """Put an object; its version.

        Raises AlreadyExistsError, PreconditionError, or FileNotFoundError for a version that is
        gone, if it is another put's object that does not let it.
        """
        path, body, token = checked_key(key, self.url), memoryview(data).cast("B"), uuid.uuid4().hex
        with told(self.url, key):
            for last in tries(self._patience, may_pass):
                try:
                    return version_of(self._put_once(path, body, mode, token))
                except (BaseError, FileNotFoundError) as error:
                    if (made := self._made_by(path, token)) is not None:
                        return made
                    if last(error):
                        raise
        raise AssertionError("the last try returns or raises")

    def _put_once(
        self, path: str, body: memoryview, mode: Mode | UpdateVersion, token: str
    ) -> obs.PutResult:
        return obs.put(
            self._store,
            path,
            body,
            mode=mode,
            use_multipart=False,  # which has no conditions
            attributes={_TOKEN: token},
        )

    def _made_by(self, path: str, token: str) -> UpdateVersion | None:
        """The version of an object if it is the put's with this token."""
        try:
            found = obs.get(self._reads, path, options={"head": True})
        except (BaseError, FileNotFoundError):
            return None
        return version_of(found.meta) if found.attributes.get(_TOKEN) == token else None
