"""actstore: every layer of every checkpoint, extracted once, evaluated and measured from disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "create_store", "open_store"]

if TYPE_CHECKING:
    from actstore.store import create_store, open_store


def __getattr__(name: str) -> object:
    """Load the store's functions on first use, so that `import actstore` stays instant."""
    if name in ("open_store", "create_store"):
        import actstore.store

        return getattr(actstore.store, name)
    raise AttributeError(f"module 'actstore' has no attribute {name!r}")
