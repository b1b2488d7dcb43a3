"""`memory://name`: objects of this process alone, for tests and for trying things out."""

from __future__ import annotations

from functools import cache

from obstore.store import MemoryStore

from actstore.store.storage.objects import ObjectStorage


def open_memory(url: str) -> ObjectStorage:
    """The objects of a URL: the same ones for all that open it in this process, until it ends."""
    return ObjectStorage(_store(url), url, threads=1)


@cache
def _store(url: str) -> MemoryStore:
    del url  # by which the cache keeps them apart
    return MemoryStore()
