"""A dataset repository of the Hugging Face hub: what is in it, and its errors in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actstore.errors import (
    ActstoreError,
    InvalidInputError,
    MissingDependencyError,
    StorageError,
    UnknownNameError,
)
from actstore.store.moving.objects import rank
from actstore.store.storage import Buffer

if TYPE_CHECKING:
    from huggingface_hub import HfApi

DATASET = "dataset"
MAIN = "main"
NOT_STORED = ("README.md", ".gitattributes")
"""What a repository has besides the store."""
_DENIED = (401, 403)


@dataclass(frozen=True)
class RepoObject:
    """A file in a repository."""

    key: str
    size: int
    git_oid: str
    """sha1 of a git blob: of the file, or of the pointer to it where there is a sha256."""
    sha256: str | None
    """Of a large file."""

    def is_same(self, data: Buffer) -> bool:
        """Whether these are its bytes."""
        if len(data) != self.size:
            return False
        if self.sha256 is not None:
            return hashlib.sha256(data).hexdigest() == self.sha256
        header = f"blob {len(data)}\0".encode()
        return hashlib.sha1(header + bytes(data)).hexdigest() == self.git_oid


@dataclass(frozen=True)
class DatasetRepo:
    """A repository at a revision."""

    name: str
    revision: str = MAIN

    @property
    def api(self) -> HfApi:
        """The hub's client. Raises MissingDependencyError."""
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise MissingDependencyError(
                f'The hub\'s client is missing: {error}. Run: pip install "actstore[remote]"'
            ) from error
        return HfApi(library_name="actstore")

    def at(self, revision: str) -> DatasetRepo:
        return DatasetRepo(self.name, revision)

    def commit(self) -> str:
        """The commit that the revision is now. Raises UnknownNameError."""
        with hub_errors(self):
            info = self.api.repo_info(self.name, repo_type=DATASET, revision=self.revision)
        return str(info.sha)

    def objects(self) -> list[RepoObject]:
        """What is in it of a store, in the order in which it is written. UnknownNameError."""
        from huggingface_hub.hf_api import RepoFile

        with hub_errors(self):
            tree = self.api.list_repo_tree(
                self.name, repo_type=DATASET, revision=self.revision, recursive=True
            )
            files = [one for one in tree if isinstance(one, RepoFile)]
        found = (
            RepoObject(one.path, one.size, one.blob_id, one.lfs.sha256 if one.lfs else None)
            for one in files
        )
        kept = (one for one in found if one.key not in NOT_STORED)
        return sorted(kept, key=lambda one: rank(one.key))


@contextmanager
def hub_errors(repo: DatasetRepo) -> Iterator[None]:
    """The hub's errors as ours: who is not known, what is not there, who does not answer."""
    try:
        yield
    except ActstoreError:
        raise
    except Exception as error:
        told = _as_ours(repo, error)
        if told is None and error.__cause__ is not None:  # of an upload in a thread
            told = _as_ours(repo, error.__cause__)
        if told is None:
            raise
        raise told from error


def _as_ours(repo: DatasetRepo, error: BaseException) -> ActstoreError | None:
    """An error of the hub or its client in our words; None for any other."""
    from huggingface_hub import errors

    place = f"the dataset {repo.name} on the Hugging Face hub"
    unreachable = (errors.LocalEntryNotFoundError, errors.FileMetadataError, ConnectionError)
    match error:
        case errors.LocalTokenNotFoundError():
            return _denied(place, "no token is set")
        case errors.GatedRepoError():
            return _denied(place, "its owner has to let you in, see its page")
        case errors.RevisionNotFoundError():
            return UnknownNameError(f"{place} has no revision {repo.revision!r}. See --revision")
        case errors.RepositoryNotFoundError():
            return UnknownNameError(
                f"There is no dataset {repo.name} on the Hugging Face hub, or it is private and "
                "you are not known. Check the name (USER/NAME); log in: hf auth login"
            )
        case errors.HFValidationError():
            return InvalidInputError(f"{repo.name!r} is no name of a repository: {error}")
        case errors.HfHubHTTPError() if error.response.status_code in _DENIED:
            return _denied(place, "your token does not allow it")
        case errors.HfHubHTTPError():
            return StorageError(f"{place} failed: {error}. Run the same command again.")
    # The client's own errors of the network have no common base that it exports.
    if isinstance(error, unreachable) or type(error).__module__.startswith("httpx"):
        return StorageError(
            f"{place} does not answer: {error or type(error).__name__}. Run the same command "
            "again: what was sent stays."
        )
    return None


def _denied(place: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{place} cannot be used: {why}. Log in with a token that may write: hf auth login"
    )
