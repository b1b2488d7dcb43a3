"""Looking at everything in a store, several objects at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from actstore.progress import BYTES, progress
from actstore.store.storage import Storage
from actstore.store.texts.table import TextTable
from actstore.store.verify.affected import Users
from actstore.store.verify.documents import group_checks, model_checks, store_checks
from actstore.store.verify.finding import Check, Found
from actstore.store.verify.judging import Judge
from actstore.store.verify.ledgers import Recorded, recorded
from actstore.store.verify.mending import mend
from actstore.store.verify.places import find_places
from actstore.store.verify.remedies import Past
from actstore.store.verify.report import Note, VerifyReport
from actstore.store.verify.shards import ShardChecks
from actstore.store.verify.strays import ownerless, strangers, unfinished, unrecorded

if TYPE_CHECKING:
    from actstore.store.store import Store


def verify_store(
    store: Store,
    *,
    quick: bool = False,
    repair: bool = False,
    threads: int | None = None,
    model: str | None = None,
    checkpoints: Sequence[str] = (),
) -> VerifyReport:
    """Compare what is in a store with what was written there: see docs/verify.md.

    quick: sizes, the indices of shards and small documents. Otherwise every byte. repair: remove
    what is damaged and can be made again. threads: how many objects are looked at at once; None: as
    many as there are cores, or more where the storage takes more. model, checkpoints: only these,
    as `Store.select_checkpoints` reads them; what belongs to no model is left out then. Raises
    UnknownNameError.
    """
    texts, everything = TextTable(store.storage), not (model or checkpoints)
    places = find_places(store, texts, model, checkpoints)
    held = [recorded(group) for place in places for group in place.groups]
    checks = [
        *(store_checks(store, texts, quick=quick) if everything else ()),
        *chain.from_iterable(model_checks(store, place, quick=quick) for place in places),
        *chain.from_iterable(group_checks(one.group, quick=quick) for one in held),
        *chain.from_iterable(ShardChecks(one, quick=quick).checks() for one in held),
    ]
    damaged = list(_damaged(checks, threads or _width(store.storage)))
    committed = {key: shards for one in held for key, shards in one.by_array().items()}
    users, past = Users(store), Past(store.storage)
    problems = Judge(store.url, users, past, committed).problems([found for _, found in damaged])
    commits = [commit for one in held for commit in one.commits]
    return VerifyReport(
        n_shards=len(commits),
        n_bytes=sum(commit.n_bytes for commit in commits),
        n_heads=sum(one.group.has_head() for one in held),
        n_lenses=sum(len(one.group.lenses()) for one in held),
        problems=problems,
        notes=tuple(_notes(store, held, past, everything=everything)),
        suites=users.suites if problems else {},
        repaired=mend(store.storage, damaged) if repair else (),
    )


def _damaged(checks: Sequence[Check], threads: int) -> Iterator[tuple[Check, Found]]:
    """What the checks find, in their order."""
    total = sum(check.n_bytes for check in checks)

    def run(check: Check) -> list[Found]:
        found = check.run()
        advance(check.n_bytes)
        return found

    with progress("Verifying", total, BYTES) as advance, ThreadPoolExecutor(threads) as pool:
        for check, found in zip(checks, pool.map(run, checks), strict=True):
            yield from ((check, one) for one in found)


def _notes(
    store: Store, held: Sequence[Recorded], past: Past, *, everything: bool
) -> Iterator[Note]:
    for one in held:
        yield from unrecorded(one, past)
    if everything:
        yield from unfinished(store.storage)
        objects = store.storage.objects("")
        yield from ownerless(objects)
        yield from strangers(objects)


def _width(storage: Storage) -> int:
    return max(storage.threads, len(os.sched_getaffinity(0)))
