"""Bringing a store from the Hugging Face hub to this disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from actstore.errors import InvalidInputError, NotAStoreError
from actstore.progress import progress
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
)
from actstore.store.moving.copying import require_sound
from actstore.store.moving.hub_repo import DATASET, MAIN, DatasetRepo, RepoObject, hub_errors
from actstore.store.moving.objects import rank
from actstore.store.moving.plan import require_fits
from actstore.store.moving.pushing import ProgressBarsOff
from actstore.store.storage import LocalStorage, each, open_storage
from actstore.store.store import open_store

_THREADS = 8
_NOTES = ".cache"
"""What the hub's client notes in a folder, to go on with a download; removed at the end."""
_OWN = ("leases/", "runs/", f"{_NOTES}/")
"""Of a store that was used here: no pull touches it."""


@dataclass(frozen=True)
class PullReport:
    """What was brought."""

    commit: str
    """The repository's commit that the store now is."""
    n_objects: int
    n_brought: int
    bytes_brought: int
    verified: bool


def pull(repo: str, target: str, *, revision: str = MAIN, verify: bool = True) -> PullReport:
    """Bring a store here, or what this disk lacks of it; a pull that was stopped is gone on with.

    States come before the records that make them count, the store's own document last. verify:
    read all of it again at the end.

    Raises UnknownNameError and InvalidInputError for a repository that is not there or not allowed,
    NotAStoreError for one that holds no store, InvalidInputError for a target that is no folder or
    holds what the repository does not, DiskSpaceError, StorageError for a hub that does not answer.
    """
    storage = _target(target)
    commit = DatasetRepo(repo, revision).commit()
    pinned = DatasetRepo(repo, commit)
    objects = pinned.objects()
    _require_store(objects, repo)
    _require_own(storage, objects, repo)
    todo = [one for one in objects if not _is_here(storage, one)]
    n_bytes = sum(one.size for one in todo)
    require_fits(storage, n_bytes)
    with progress("Pulling", n_bytes, "B") as advance, ProgressBarsOff():
        for _, batch in groupby(todo, key=lambda one: rank(one.key)[0]):
            _bring(pinned, storage, list(batch), advance)
            os.sync()  # what counts is on the disk behind what it counts
    shutil.rmtree(storage.root / _NOTES, ignore_errors=True)
    if verify:
        require_sound(open_store(target))
    return PullReport(commit, len(objects), len(todo), n_bytes, verify)


def _target(target: str) -> LocalStorage:
    storage = open_storage(target)
    if not isinstance(storage, LocalStorage):
        raise InvalidInputError(
            f"A pull goes into a folder, and {target} is none. Copy from the hub instead: "
            f"actstore copy hf://datasets/USER/NAME {target}"
        )
    return storage


def _require_store(objects: Sequence[RepoObject], repo: str) -> None:
    if DOCUMENT not in {one.key for one in objects}:
        raise NotAStoreError(
            f"The dataset {repo} holds no store, or one whose push was stopped. "
            f"Push it to its end: actstore push STORE {repo}"
        )


def _require_own(storage: LocalStorage, objects: Sequence[RepoObject], repo: str) -> None:
    """Raise InvalidInputError for a folder with objects that the repository does not have."""
    here = {one.key for one in storage.objects("") if not one.key.startswith(_OWN)}
    others = sorted(here - {one.key for one in objects})
    if others:
        raise InvalidInputError(
            f"{storage.url} holds {len(others)} objects that {repo} does not, the first: "
            f"{others[0]}. Pull into a new folder, then bring the two together: actstore merge "
            f"{storage.url} FOLDER"
        )


def _is_here(storage: LocalStorage, one: RepoObject) -> bool:
    try:
        with storage.open(one.key) as reader:
            if reader.size != one.size:
                return False
        return one.is_same(storage.read(one.key))
    except FileNotFoundError:
        return False


def _bring(
    repo: DatasetRepo,
    storage: LocalStorage,
    objects: Sequence[RepoObject],
    advance: Callable[[int], None],
) -> None:
    client = repo.api

    def bring(one: RepoObject) -> None:
        with hub_errors(repo):
            client.hf_hub_download(
                repo.name,
                one.key,
                repo_type=DATASET,
                revision=repo.revision,
                local_dir=storage.root,
                # what is here and differs was changed here or is of another commit
                force_download=Path(storage.root, one.key).exists(),
            )
        advance(one.size)

    each(storage, bring, objects, _THREADS)
