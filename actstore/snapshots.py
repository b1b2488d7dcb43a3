"""Repositories of the Hugging Face Hub as folders on this machine, each of one exact commit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants, get_cached_repo_tree, get_session, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    IncompleteSnapshotError,
)
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from actstore.errors import ActstoreError, InvalidInputError, raise_failed
from actstore.progress import progress

_COMMIT = re.compile("[0-9a-f]{40}")
_PATIENCE = 10.0
"""Seconds for the hub to answer at all."""
_NO_BARS: Any = partial(tqdm, disable=True)
"""The bars that are drawn are ours."""


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository at a commit."""

    kind: Literal["dataset", "model"]
    repo: str
    revision: str
    """As it was asked for: a commit, a branch or a tag."""
    commit: str
    folder: Path
    files: Mapping[str, int]
    """Bytes by path, of the files that were asked for."""
    was_there: bool
    """Whether all of them were in the cache before."""


@dataclass(frozen=True)
class FetchReport:
    """What one fetching left in the hub cache."""

    snapshots: tuple[Snapshot, ...]
    """Each repository and commit once, with all files that were asked of it."""
    seconds: float

    @property
    def n_bytes(self) -> int:
        """The size of all files, those that were there before included."""
        return sum(sum(snapshot.files.values()) for snapshot in self.snapshots)


def fetch_all(
    description: str, unit: str, wanted: Mapping[str, Callable[[], Iterable[Snapshot]]]
) -> FetchReport:
    """Take snapshots one after the other, with a progress bar.

    wanted: what takes some of them, by the name of what they are for. All are tried: what was
    downloaded stays, and is not downloaded again. Raises PartlyDoneError that names those that
    failed, or the error itself where one alone was wanted.
    """
    began = time.monotonic()
    taken: list[Snapshot] = []
    failed: dict[str, ActstoreError] = {}
    with progress(description, len(wanted), unit) as advance:
        for name, take in wanted.items():
            try:
                taken += take()
            except ActstoreError as error:
                failed[name] = error
            advance(1)
    raise_failed(f"{unit}s fetched", failed, len(wanted))
    return FetchReport(_joined(taken), time.monotonic() - began)


def _joined(taken: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """Those of one commit made one."""
    joined: dict[tuple[str, str, str], Snapshot] = {}
    for one in taken:
        key = (one.kind, one.repo, one.commit)
        other = joined.get(key, one)
        files = {**other.files, **one.files}
        was_there = one.was_there and other.was_there
        joined[key] = replace(other, files=files, was_there=was_there)
    return (*joined.values(),)


def take_snapshot(
    kind: Literal["dataset", "model"],
    repo: str,
    revision: str,
    *,
    only: Sequence[str] | None = None,
    without: Sequence[str] = (),
    offline: bool = False,
    fetch: str = "",
) -> Snapshot:
    """A repository's files at a revision; those that are not in the hub cache are downloaded.

    only, without: patterns of paths. offline: look into the cache alone, as with HF_HUB_OFFLINE.
    fetch: the options of `actstore fetch` that get it, for messages. Nothing is asked of the hub if
    the cache has all files of a commit. Raises InvalidInputError if files are missing, or are not
    of the commit that was asked for.
    """
    wanted = _Wanted(kind, repo, revision, None if only is None else (*only,), (*without,), fetch)
    if _COMMIT.fullmatch(revision) and (found := _cached(wanted)):
        return found
    return replace(_snapshot(wanted, offline=offline or not _hub_answers()), was_there=offline)


@dataclass(frozen=True)
class _Wanted:
    kind: Literal["dataset", "model"]
    repo: str
    revision: str
    only: tuple[str, ...] | None
    without: tuple[str, ...]
    fetch: str

    def includes(self, path: str) -> bool:
        chosen = self.only is None or any(fnmatch(path, pattern) for pattern in self.only)
        return chosen and not any(fnmatch(path, pattern) for pattern in self.without)


def _cached(wanted: _Wanted) -> Snapshot | None:
    """The snapshot if the cache has all of it. What a branch is now, the cache does not know."""
    try:
        return _snapshot(wanted, offline=True)
    except InvalidInputError:
        return None


def _snapshot(wanted: _Wanted, *, offline: bool) -> Snapshot:
    try:
        folder = Path(_download(wanted, offline))
    except Exception as error:  # offline, gated and unknown raise classes of many libraries
        raise InvalidInputError(_cannot_get(wanted, error, offline)) from error
    _require_commit(wanted, folder.name)
    files = _listed_files(wanted, folder.name)
    _require_files(wanted, folder, files)
    return Snapshot(wanted.kind, wanted.repo, wanted.revision, folder.name, folder, files, True)


def _hub_answers() -> bool:
    """Whether the hub is within reach: the library waits half a minute for each file before it
    gives up."""
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # again classes of many libraries
        return False
    return True


def _download(wanted: _Wanted, offline: bool) -> str:
    return snapshot_download(
        wanted.repo,
        repo_type=wanted.kind,
        revision=wanted.revision,
        allow_patterns=None if wanted.only is None else [*wanted.only],
        ignore_patterns=[*wanted.without],
        local_files_only=offline,
        tqdm_class=_NO_BARS,
    )


def _listed_files(wanted: _Wanted, commit: str) -> dict[str, int]:
    """Bytes by path of the wanted files that the hub listed for a commit, when it was downloaded.

    Without that list nobody can tell a whole folder from one that some files were read of.
    """
    try:
        tree = get_cached_repo_tree(wanted.repo, repo_type=wanted.kind, revision=commit)
    except CachedRepoTreeNotFoundError as error:
        raise InvalidInputError(
            f"The hub cache {constants.HF_HUB_CACHE} has files of the {wanted.kind} {wanted.repo} "
            f"at {commit}, but no list of them: some may be missing. {_how_to_fetch(wanted)}"
        ) from error
    return {file.path: file.size for file in tree if wanted.includes(file.path)}


def _require_commit(wanted: _Wanted, commit: str) -> None:
    if _COMMIT.fullmatch(wanted.revision) and commit != wanted.revision:
        raise InvalidInputError(
            f"The {wanted.kind} {wanted.repo} was asked for at revision {wanted.revision}; "
            f"what came is {commit}."
        )


def _require_files(wanted: _Wanted, folder: Path, files: Mapping[str, int]) -> None:
    wrong = [path for path, size in files.items() if _size(folder / path) != size]
    if not files or wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        what = f"{shown} missing or of another length" if files else "none of the files asked for"
        raise InvalidInputError(
            f"The {wanted.kind} {wanted.repo} at commit {folder.name} is not whole in {folder}: "
            f"{what}. The hub answered with another commit's files, or they were changed here. "
            "Delete them (hf cache rm) and download them again."
        )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _cannot_get(wanted: _Wanted, error: Exception, offline: bool) -> str:
    what = f"The {wanted.kind} {wanted.repo} at revision {wanted.revision}"
    if offline:
        whole = "only in part" if isinstance(error, IncompleteSnapshotError) else "not"
        return (
            f"{what} is {whole} in the hub cache {constants.HF_HUB_CACHE}, "
            f"and the hub {constants.ENDPOINT} is out of reach. {_how_to_fetch(wanted)}"
        )
    reason = str(error).strip().partition("\n")[0]
    message = f"{what} cannot be downloaded ({type(error).__name__}: {reason})."
    if isinstance(error, GatedRepoError):
        where = f"{'datasets/' * (wanted.kind == 'dataset')}{wanted.repo}"
        message += f" Ask for access at {constants.ENDPOINT}/{where}, then: hf auth login."
    return message


def _how_to_fetch(wanted: _Wanted) -> str:
    return f"Where there is a network, run: actstore fetch {wanted.fetch}".rstrip()
