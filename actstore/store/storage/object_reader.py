"""Reading one object of an object store, whole or in ranges, to the last byte asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import obstore as obs
from obstore.exceptions import GenericError

from actstore.errors import CorruptShardError
from actstore.store.storage.limits import require_size
from actstore.store.storage.patience import Patience
from actstore.store.storage.refusals import answer, is_behind_end

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutResult, UpdateVersion
    from obstore.store import ObjectStore

T = TypeVar("T")
_PIECE = 4 << 20
"""Bytes that are taken at once of what is asked for again: what has come then stays."""


@dataclass
class _Part:
    """A part of an object on its way into a buffer."""

    offset: int
    buffer: memoryview
    done: int = 0
    """Bytes that have come."""
    version: UpdateVersion | None = None
    """Of the object they are from."""
    tried: bool = False
    """Whether it was asked for before: it is then taken in pieces, at a tenth of the speed."""

    @property
    def end(self) -> int:
        return self.offset + len(self.buffer)

    def take(self, piece: memoryview) -> None:
        if self.done + len(piece) > len(self.buffer):
            raise GenericError(f"more than the {len(self.buffer)} bytes came that were asked for")
        self.buffer[self.done : self.done + len(piece)] = piece
        self.done += len(piece)


class ObjectReader:
    """One object. A range is one request; what its answer lacks is asked for again."""

    def __init__(self, store: ObjectStore, path: str, url: str, patience: Patience) -> None:
        self._store, self._path, self._url = store, path, url
        self._patience = patience
        self._meta: ObjectMeta | None = None

    @property
    def size(self) -> int:
        """Bytes, which every answer tells; a request of its own before there was one."""
        if self._meta is None:
            self._meta = self._ask(lambda: obs.head(self._store, self._path))
        return self._meta["size"]

    @property
    def version(self) -> UpdateVersion:
        """Of what was read last."""
        if self._meta is None:
            raise ValueError("nothing was read")
        return version_of(self._meta)

    def read(self) -> bytes:
        """The whole object."""
        return self._ask(self._whole)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """As the protocol says; all of it from one version of the object."""
        part = _Part(offset, buffer.cast("B"))
        self._ask(lambda: self._fill(part))

    def _ask(self, question: Callable[[], T]) -> T:
        return answer(self._url, self._path, self._patience, question)

    def _whole(self) -> bytes:
        result = obs.get(self._store, self._path)
        self._meta = result.meta
        require_size(self._url, self._path, self._meta["size"])
        data = bytes(result.bytes())
        if len(data) != self._meta["size"]:
            raise GenericError(f"{len(data)} of {self._meta['size']} bytes came")
        return data

    def _fill(self, part: _Part) -> None:
        """Ask for what a part lacks. Raises GenericError if not all of that came."""
        if part.done == len(part.buffer):
            return
        result = self._get(part.offset + part.done, part.end)
        self._meta = result.meta
        if part.version not in (None, self.version):
            part.done, part.version = 0, None
            raise GenericError("it was replaced while it was read")
        part.version, again, part.tried = self.version, part.tried, True
        for piece in result.stream(min_chunk_size=_PIECE) if again else [result.bytes()]:
            part.take(memoryview(piece))
        if part.done < len(part.buffer):
            self._require(part.end)
            raise GenericError(f"{part.done} of {len(part.buffer)} bytes came")

    def _get(self, start: int, stop: int) -> GetResult:
        try:
            return obs.get(self._store, self._path, options={"range": (start, stop)})
        except GenericError as error:
            if is_behind_end(error):
                self._require(stop)
            raise

    def _require(self, end: int) -> None:
        """Raise CorruptShardError if the object ends before."""
        early = end - self.size
        if early > 0:
            raise CorruptShardError(
                f"{self._url}/{self._path} ends at byte {self.size}, {early} bytes early. "
                f"Run: actstore verify {self._url}"
            )


def version_of(answer: PutResult | ObjectMeta) -> UpdateVersion:
    """Which version of an object an answer speaks of, as a conditional put wants it."""
    version: UpdateVersion = {"e_tag": answer["e_tag"]}
    if answer["version"] is not None:  # a bucket without versioning has none
        version["version"] = answer["version"]
    return version
