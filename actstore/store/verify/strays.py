"""What a store holds besides what its ledgers and documents name. None of it is damage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
)
from actstore.store.sharing.sweeping import leftovers
from actstore.store.storage import Storage, StoredObject
from actstore.store.verify.ledgers import Recorded
from actstore.store.verify.remedies import Past, remedy_of
from actstore.store.verify.report import Note
from actstore.store.verify.shards import shard_key_of

_KNOWN = re.compile(
    "|".join(
        [
            r"(.+/)?zarr\.json",
            r"models/[^/]+/vocabulary\.parquet",
            r"models/[^/]+/[^/]+/c(\.\d+)+",
            r"models/[^/]+/[^/]+/ledger/(removed/)?[^/]+\.jsonl",
            r"models/[^/]+/[^/]+/.+/c(\.\d+)+",
            r"texts/.+\.(parquet|jsonl)",
            r"tasks/.+/(manifest\.json|[^/]+\.parquet)",
            r"suites/[^/]+\.json",
            r"views/[^/]+\.(parquet|begun\.json)",
            r"experiments/[^/]+\.(json|yaml)",
            r"leases/[0-9a-f]{32}\.\d+\.lease",
            r"(runs|metrics/journal|scores/(journal|leaves|failures))/[^/]+\.jsonl",
            r"scores/(environments|mteb)/.+",
            r"(fits|metrics/values)/[0-9a-f]{32}\.npz",
        ]
    )
)
"""Keys that actstore writes: see docs/store-format.md."""

_PART = re.compile(
    r"tasks/(?:[^/]+/)+(?=[^/]+\.parquet)|models/[^/]+/[^/]+/(?:head|(?:tokens|lenses)/[^/]+)/"
)
"""The folder of a thing that is several objects."""
_LAST = {"tasks": "manifest.json"}
"""The object of such a thing that is written last, where it is not Zarr's document."""


def strangers(objects: Iterable[StoredObject]) -> Iterator[Note]:
    """Objects that actstore does not write: copied there by hand, or by another program."""
    unknown = [one.key for one in objects if not _KNOWN.fullmatch(one.key)]
    if unknown:
        yield Note("not written by actstore; left alone", len(unknown), unknown[0])


def ownerless(objects: Iterable[StoredObject]) -> Iterator[Note]:
    """Objects of something whose own document, which is written last, is not there."""
    keys = {one.key for one in objects}
    found = [key for key in keys if (own := _document_of(key)) and own not in keys]
    if found:
        what = "parts of what was never finished, or has lost its document: it counts as not there"
        yield Note(what, len(found), min(found))


def _document_of(key: str) -> str:
    """What makes the thing count that an object is part of; empty if nothing does."""
    match = _PART.match(key)
    return f"{match[0]}{_LAST.get(match[0].partition('/')[0], DOCUMENT)}" if match else ""


def unfinished(storage: Storage) -> Iterator[Note]:
    """What writers that were killed left beside the final names; `--repair` sweeps it."""
    left = leftovers(storage)
    if left:
        n_bytes = sum(one.size for one in left)
        what = f"left unfinished by killed writers ({n_bytes:,} bytes); --repair removes them"
        yield Note(what, len(left), left[0].key)


def unrecorded(held: Recorded, past: Past) -> Iterator[Note]:
    """Shards of a checkpoint without a commit record, which count as to do, by array.

    A killed writer leaves one or a few, and those that are at work have some; more are there if the
    ledger has lost lines.
    """
    group, done = held.group, {(commit.array, commit.shard) for commit in held.commits}
    samples = [f"tokens/{name}/states" for name in group.token_samples()]
    for array in [*(f"{p}_pool" for p in group.poolings()), *group.text_values(), *samples]:
        left = sorted(s for s in group.ledger.present(array) if (array, s) not in done)
        if left:
            command = remedy_of(group, array, past).command(marked=True)
            what = (
                f"shards of {array} of {group.model} at {group.checkpoint} without a commit "
                "record: what a killed or a working run leaves, or the ledger has lost lines. They "
                f"are to do again: {command}"
            )
            yield Note(what, len(left), shard_key_of(group, array, left[0]))
