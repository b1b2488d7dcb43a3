"""Finding damage: what the ledger says was committed, against the bytes that are there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actstore.errors import CorruptShardError
from actstore.progress import progress
from actstore.store.ledger import digest
from actstore.store.schema import TEXT_VALUES
from actstore.store.storage import join
from actstore.store.zarr_metadata import shard_key

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup
    from actstore.store.store import Store

_THREADS = 4


@dataclass(frozen=True)
class Problem:
    """One damaged or missing shard, in the user's words."""

    model: str
    checkpoint: str
    array: str
    rows: tuple[int, int]
    what: str
    command: str
    """Repairs it."""
    key: str


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at and what was found."""

    n_shards: int
    n_bytes: int
    problems: tuple[Problem, ...]


def verify_store(store: Store, *, quick: bool = False, repair: bool = False) -> VerifyReport:
    """Check every committed shard of a store.

    quick: only that shards exist, with the size and plan they were committed with. Otherwise each
    chunk's crc32c, each shard's digest, and that the texts of its rows are those it was made of.
    repair: remove damaged shards, so that the next extraction makes them again.
    """
    work = [(group, record) for group in _groups(store) for record in group.ledger.records()]
    with (
        progress("Verifying", len(work), "shards") as advance,
        ThreadPoolExecutor(_THREADS) as pool,
    ):

        def check(item: tuple[CheckpointGroup, dict[str, Any]]) -> Problem | None:
            what = _damage(*item, quick=quick)
            advance(1)
            return _problem(*item, what) if what else None

        problems = tuple(found for found in pool.map(check, work) if found)
    if repair:
        for problem in problems:
            store.storage.delete(problem.key)
    return VerifyReport(len(work), sum(record["bytes"] for _, record in work), problems)


def _groups(store: Store) -> Iterator[CheckpointGroup]:
    for model in store.models():
        for checkpoint in store.checkpoints(model):
            yield store.checkpoint(model, checkpoint)


def _damage(group: CheckpointGroup, record: dict[str, Any], *, quick: bool) -> str | None:
    """What is wrong with a committed shard, or None."""
    key = _key(group, record)
    if record["plan"] != group.spec.digest():
        return "it was made under another plan than its checkpoint's"
    try:
        with group.storage.open(key) as reader:
            if reader.size != record["bytes"]:
                return f"it has {reader.size} bytes, {record['bytes']} were committed"
            if quick:
                return None
            group.sharded_array(record["array"]).check(record["shard"])
    except FileNotFoundError:
        return "it is missing"
    except CorruptShardError as error:
        return str(error)
    if digest(group.storage.read(key)) != record["digest"]:
        return "its bytes are not those that were committed: another shard's, or altered"
    return _content_differs(group, record)


def _content_differs(group: CheckpointGroup, record: dict[str, Any]) -> str | None:
    content = group.content(record["array"], np.arange(*record["rows"]))
    return None if digest(content) == record["content"] else "the texts of its rows have changed"


def _key(group: CheckpointGroup, record: dict[str, Any]) -> str:
    n_dims = 2 if record["array"] in TEXT_VALUES else 3
    return shard_key(join(group.prefix, record["array"]), record["shard"], n_dims)


def _problem(group: CheckpointGroup, record: dict[str, Any], what: str) -> Problem:
    start, stop = record["rows"]
    return Problem(
        model=group.model,
        checkpoint=group.checkpoint,
        array=record["array"],
        rows=(start, stop),
        what=what,
        command=(
            f"actstore verify {group.storage.url} --repair && actstore extract "
            f"{group.storage.url} --model {group.model} --checkpoints {group.checkpoint} "
            f"{_option(record)}"
        ),
        key=_key(group, record),
    )


def _option(record: dict[str, Any]) -> str:
    """What makes an array of this kind again."""
    array: str = record["array"]
    if array in TEXT_VALUES:
        return "--token-metrics"
    if array.endswith("_pool"):
        return f"--pooling {array.removesuffix('_pool')}"
    return "(as it was made before)"
