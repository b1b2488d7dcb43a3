"""Where a store's bytes live: one small interface, and what implements it."""

from actstore.store.storage.base import Buffer, Reader, Storage, StoredObject, join
from actstore.store.storage.concurrent import each
from actstore.store.storage.local import LocalStorage
from actstore.store.storage.opening import open_storage

__all__ = [
    "Buffer",
    "LocalStorage",
    "Reader",
    "Storage",
    "StoredObject",
    "each",
    "join",
    "open_storage",
]
