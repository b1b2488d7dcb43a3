"""Sending a store to the Hugging Face hub, as a dataset repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actstore.errors import CorruptShardError
from actstore.progress import progress
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
)
from actstore.store.moving.card import UNKNOWN_LICENCE, dataset_card
from actstore.store.moving.hub_repo import DATASET, MAIN, DatasetRepo, RepoObject, hub_errors
from actstore.store.moving.objects import rank
from actstore.store.status.describe import describe_store
from actstore.store.storage import LocalStorage, Storage, StoredObject, join
from actstore.store.store import Store

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

_OF_THIS_PLACE = ("leases/", "runs/")
"""Of machines that worked on the store: not sent."""
_RESULTS = ("scores/", "metrics/", "fits/")
_MOST_FILES = 100
_MOST_BYTES = 1 << 30
"""In one commit: what an interruption loses at most, and the most that is held in memory."""
_CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class PushRequest:
    """What is sent, and where to."""

    repo: str
    """USER/NAME, or ORGANISATION/NAME."""
    revision: str = MAIN
    """The branch; made if it is not there."""
    private: bool = False
    """Of a repository that is made."""
    create_pr: bool = False
    """Open a pull request instead of changing the branch."""
    results: bool = True
    """Whether scores and metrics are sent."""
    licence: str = UNKNOWN_LICENCE
    """An identifier of the hub, for the card."""


@dataclass(frozen=True)
class PushReport:
    """What was sent."""

    url: str
    """Of the repository, or the pull request."""
    revision: str
    n_objects: int
    """Of the store, in the repository."""
    n_sent: int
    bytes_sent: int
    n_others: int
    """Objects of a store that are in the repository and not in this store."""


def push(store: Store, request: PushRequest) -> PushReport:
    """Send what a dataset repository lacks of a store; a push that was stopped is gone on with.

    States are sent before the records that make them count, and the store's own document last: at
    every commit the repository holds a store, or none. At the end its listing is compared with the
    store's bytes.

    Raises InvalidInputError where no token allows it, UnknownNameError for a repository that cannot
    be made, StorageError for a hub that does not answer, CorruptShardError if what is there in the
    end is not what was sent.
    """
    repo, objects = _made(request), sent_objects(store.storage, results=request.results)
    todo = list(_missing(store.storage, objects, repo.objects()))
    n_bytes, pull_request = sum(one.size for one in todo), None
    with progress("Pushing", n_bytes, "B") as advance, ProgressBarsOff():
        for batch in _batches(todo):
            additions = [_addition(store.storage, one.key) for one in batch]
            repo, url = _commit(repo, additions, f"Add {len(batch)} objects", request)
            pull_request = pull_request or url
            advance(sum(one.size for one in batch))
        n_all = sum(one.size for one in objects)
        card = dataset_card(describe_store(store), request.repo, request.licence, n_all)
        repo, url = _commit(repo, [_card(card)], "Describe the store", request)
    left = list(_missing(store.storage, objects, there := repo.objects()))
    if left:
        raise CorruptShardError(
            f"{len(left)} objects of {store.url} are not in {request.repo} as they were sent, the "
            f"first: {left[0].key}. Run the same command again."
        )
    others = {one.key for one in there} - {one.key for one in objects}
    page = pull_request or url or f"{repo.api.endpoint}/datasets/{request.repo}"
    return PushReport(page, repo.revision, len(objects), len(todo), n_bytes, len(others))


def sent_objects(storage: Storage, *, results: bool) -> list[StoredObject]:
    """The objects of a store that are sent, in order."""
    left_out = _OF_THIS_PLACE if results else (*_OF_THIS_PLACE, *_RESULTS)
    folders = {join(prefix.rstrip("/"), DOCUMENT) for prefix in left_out}  # empty ones are sent
    objects = (
        one for one in storage.objects("") if one.key in folders or not one.key.startswith(left_out)
    )
    return sorted(objects, key=lambda one: rank(one.key))


def _made(request: PushRequest) -> DatasetRepo:
    """The repository at the branch, both made if they are not there."""
    repo = DatasetRepo(request.repo, request.revision)
    with hub_errors(repo):
        repo.api.create_repo(
            request.repo, repo_type=DATASET, private=request.private or None, exist_ok=True
        )
        if request.revision != MAIN and not request.create_pr:
            repo.api.create_branch(
                request.repo, branch=request.revision, repo_type=DATASET, exist_ok=True
            )
    return repo


def _missing(
    storage: Storage, objects: Sequence[StoredObject], there: Sequence[RepoObject]
) -> Iterator[StoredObject]:
    """The objects that a repository lacks, or has otherwise. Reads those that it has."""
    known = {one.key: one for one in there}
    for one in objects:
        found = known.get(one.key)
        same = found and found.size == one.size and found.is_same(storage.read(one.key))
        if not same:
            yield one


def _batches(objects: Sequence[StoredObject]) -> Iterator[list[StoredObject]]:
    batch: list[StoredObject] = []
    for one in objects:
        n_bytes = sum(other.size for other in batch)
        if batch and (len(batch) == _MOST_FILES or n_bytes + one.size > _MOST_BYTES):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _addition(storage: Storage, key: str) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    if isinstance(storage, LocalStorage):
        return CommitOperationAdd(key, str(storage.path(key)))
    return CommitOperationAdd(key, storage.read(key))


def _card(text: str) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(_CARD, text.encode())


def _commit(
    repo: DatasetRepo, additions: Sequence[CommitOperationAdd], message: str, request: PushRequest
) -> tuple[DatasetRepo, str | None]:
    """Commit, to the pull request once there is one; where the next goes, and its page."""
    opens = request.create_pr and repo.revision == request.revision
    with hub_errors(repo):
        done = repo.api.create_commit(
            request.repo,
            list(additions),
            commit_message=f"{message} with actstore",
            repo_type=DATASET,
            revision=repo.revision,
            create_pr=opens,
        )
    return (repo.at(done.pr_revision), done.pr_url) if done.pr_revision else (repo, None)


class ProgressBarsOff:
    """No bars of the hub's client inside the block: there is one of ours."""

    def __enter__(self) -> None:
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

        self._were_off = are_progress_bars_disabled()
        disable_progress_bars()

    def __exit__(self, *_: object) -> None:
        from huggingface_hub.utils.tqdm import enable_progress_bars

        if not self._were_off:
            enable_progress_bars()
