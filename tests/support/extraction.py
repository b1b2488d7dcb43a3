"""A store with texts, requests for it, and what its files hold: for tests of whole extractions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actstore.extract import ExtractionRequest
from actstore.store import Store, create_store
from tests.support.tiny_models import tiny_texts

N_TEXTS = 150
"""Three shards: 64 rows is the smallest."""


def store_of_texts(path: Path) -> Store:
    """A new store that holds N_TEXTS texts."""
    store = create_store(path)
    store.add_texts(tiny_texts(N_TEXTS))
    return store


def request_of(folder: Path | str, **changes: Any) -> ExtractionRequest:
    """A request for small batches on the CPU, without the lens head, changed as given."""
    settings: dict[str, Any] = {
        "checkpoints": ("main",),
        "devices": "cpu",
        "batch_tokens": 256,
        "lens_head": False,
    }
    return ExtractionRequest(str(folder), **{**settings, **changes})


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def shards(folder: Path) -> dict[str, bytes]:
    """Every array's bytes below a folder, without what killed processes left half-written."""
    found = snapshot(folder).items()
    return {name: data for name, data in found if "/c." in name and not name.endswith(".partial")}
