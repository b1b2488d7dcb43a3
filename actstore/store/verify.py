"""Finding damage: what was committed, as ledgers and lenses say, against what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actstore.errors import CorruptShardError
from actstore.progress import progress
from actstore.store.head_group import check_head
from actstore.store.ledger import Commit, digest
from actstore.store.lenses import check_lens, fit_command, lens_attributes, lens_prefix
from actstore.store.schema import TEXT_VALUES
from actstore.store.storage import join
from actstore.store.zarr_metadata import DOCUMENT, shard_key

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup
    from actstore.store.store import Store

_THREADS = 4


@dataclass(frozen=True)
class Problem:
    """One damaged or missing shard, lens head or fitted lens, in the user's words."""

    model: str
    checkpoint: str
    array: str
    """`head`, if it is the lens head; `lenses/affine`, if it is a fitted lens."""
    rows: tuple[int, int] | None
    """Of the shard; None for a lens."""
    what: str
    command: str
    """Repairs it."""
    key: str
    """What to remove, so that it is made again."""


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at and what was found."""

    n_shards: int
    n_bytes: int
    """Of the shards."""
    n_heads: int
    """Lens heads."""
    n_lenses: int
    """Fitted lenses."""
    problems: tuple[Problem, ...]


def verify_store(store: Store, *, quick: bool = False, repair: bool = False) -> VerifyReport:
    """Check every committed shard, every lens head and every fitted lens of a store.

    quick: only that they exist, with the size and plan they were committed with. Otherwise each
    chunk's crc32c, each shard's and array's digest, and that the texts of a shard's rows are those
    it was made of. repair: remove what is damaged, so that the next extraction makes it again.
    """
    groups = list(_groups(store))
    shards = [(group, record) for group in groups for record in group.ledger.records()]
    heads = [group for group in groups if group.has_head()]
    checks = [partial(_check_shard, *shard, quick=quick) for shard in shards]
    checks += [partial(_check_head, group, quick=quick) for group in heads]
    lenses = [(group, name) for group in groups for name in group.lenses()]
    checks += [partial(_check_lens, *lens, quick=quick) for lens in lenses]
    problems = tuple(_problems(checks))
    if repair:
        for problem in problems:
            store.storage.delete(problem.key)
    n_bytes = sum(record["bytes"] for _, record in shards)
    return VerifyReport(len(shards), n_bytes, len(heads), len(lenses), problems)


def _problems(checks: Sequence[Callable[[], Problem | None]]) -> Iterator[Problem]:
    """What the checks find, in their order."""
    with (
        progress("Verifying", len(checks), "shards") as advance,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        for found in pool.map(lambda check: check(), checks):
            advance(1)
            if found is not None:
                yield found


def _groups(store: Store) -> Iterator[CheckpointGroup]:
    for model in store.models():
        for checkpoint in store.checkpoints(model):
            yield store.checkpoint(model, checkpoint)


def _check_shard(group: CheckpointGroup, record: dict[str, Any], *, quick: bool) -> Problem | None:
    what = _damage(group, record, quick=quick)
    if what is None:
        return None
    start, stop = record["rows"]
    problem = _problem(group, record["array"], _key(group, record), what, _option(record))
    return replace(problem, rows=(start, stop))


def _check_head(group: CheckpointGroup, *, quick: bool) -> Problem | None:
    try:
        check_head(group.storage, group.head_prefix, quick=quick)
    except CorruptShardError as error:
        document = join(group.head_prefix, DOCUMENT)
        return _problem(group, "head", document, str(error), "--lens-head")
    return None


def _check_lens(group: CheckpointGroup, name: str, *, quick: bool) -> Problem | None:
    try:
        check_lens(group, name, quick=quick)
    except CorruptShardError as error:
        document = join(lens_prefix(group, name), DOCUMENT)
        problem = _problem(group, f"lenses/{name}", document, str(error), "")
        return replace(problem, command=fit_command(group, lens_attributes(group, name)))
    return None


def _damage(group: CheckpointGroup, record: dict[str, Any], *, quick: bool) -> str | None:
    """What is wrong with a committed shard, or None."""
    commit = Commit.of(record)
    if commit.plan != group.spec.digest():
        return "it was made under another plan than its checkpoint's"
    try:
        with group.storage.open(_key(group, record)) as reader:
            if reader.size != commit.n_bytes:
                return f"it has {reader.size} bytes, {commit.n_bytes} were committed"
        if quick:
            return None
        group.sharded_array(commit.array).check(commit)
    except FileNotFoundError:
        return "it is missing"
    except CorruptShardError as error:
        return str(error)
    return _content_differs(group, record)


def _content_differs(group: CheckpointGroup, record: dict[str, Any]) -> str | None:
    content = group.content(record["array"], np.arange(*record["rows"]))
    return None if digest(content) == record["content"] else "the texts of its rows have changed"


def _key(group: CheckpointGroup, record: dict[str, Any]) -> str:
    n_dims = 2 if record["array"] in TEXT_VALUES else 3
    return shard_key(join(group.prefix, record["array"]), record["shard"], n_dims)


def _problem(group: CheckpointGroup, array: str, key: str, what: str, option: str) -> Problem:
    return Problem(
        model=group.model,
        checkpoint=group.checkpoint,
        array=array,
        rows=None,
        what=what,
        command=(
            f"actstore verify {group.storage.url} --repair && actstore extract "
            f"{group.storage.url} --model {group.model} --checkpoints {group.checkpoint} {option}"
        ),
        key=key,
    )


def _option(record: dict[str, Any]) -> str:
    """What makes an array of this kind again."""
    array: str = record["array"]
    if array in TEXT_VALUES:
        return "--token-metrics"
    if array.endswith("_pool"):
        return f"--pooling {array.removesuffix('_pool')}"
    return "(as it was made before)"
