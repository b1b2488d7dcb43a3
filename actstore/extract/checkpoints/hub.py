"""The Hugging Face hub and its cache on this machine: revisions, and files once downloaded."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import HfApi, constants, scan_cache_dir

from actstore.errors import InvalidInputError

_COMMIT = re.compile(r"[0-9a-f]{7,40}|refs/.+")


def hub_revisions(model: str) -> list[str]:
    """The branches and tags of a model; none where the hub is out of reach."""
    try:
        refs = HfApi().list_repo_refs(model)
    except Exception:  # only for a hint; offline, gated and unknown raise classes of many libraries
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def may_be_unlisted(revision: str) -> bool:
    """Whether a revision may exist though it is neither a branch nor a tag: a commit, say."""
    return _COMMIT.fullmatch(revision) is not None


def cached_revisions(model: str) -> list[str]:
    """The branches and tags of which something is in the cache."""
    refs = model_cache(model) / "refs"
    return [str(path.relative_to(refs)) for path in refs.rglob("*") if path.is_file()]


def cached_models() -> list[str]:
    """The models of which something is in the cache."""
    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def model_cache(model: str) -> Path:
    """The folder of a model in the cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


def blob_name(path: Path) -> str | None:
    """The name of the blob a file in the cache is: the sha256 of a large one. None elsewhere."""
    if not path.is_symlink():
        return None
    blob = path.readlink()
    return blob.name if blob.parent.name == "blobs" else None


def file_hashes(model: str, commit: str, names: re.Pattern[str]) -> dict[str, str]:
    """Hashes of a commit's files of these names, as the hub states them; none out of reach.

    Equal to `blob_name` once downloaded. Files in the cache are looked at first.
    """
    snapshot = model_cache(model) / "snapshots" / commit
    there = [path for path in snapshot.glob("*") if names.fullmatch(path.name)]
    found = {path.name: name for path in there if (name := blob_name(path))}
    return found or _stated_hashes(model, commit, names)


def prune_commit(model: str, commit: str, keep: Collection[str] = ()) -> int:
    """Delete a commit's files and names from the cache; returns the bytes freed.

    Files that other commits have too stay. keep: commits still needed; one of them is not deleted.
    Raises InvalidInputError if the cache cannot be read.
    """
    cache = Path(constants.HF_HUB_CACHE)
    if commit in keep or not (model_cache(model) / "snapshots" / commit).is_dir():
        return 0
    try:
        strategy = scan_cache_dir(cache).delete_revisions(commit)
        strategy.execute()
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"Cannot prune {model} from the hub cache {cache}: {error}. "
            "Leave out --prune-cache, or delete it by hand: hf cache rm."
        ) from error
    return int(strategy.expected_freed_size)


def _stated_hashes(model: str, commit: str, names: re.Pattern[str]) -> dict[str, str]:
    try:
        info = HfApi().model_info(model, revision=commit, files_metadata=True)
    except Exception:  # as above: what is not known is not compared
        return {}
    files = [one for one in info.siblings or [] if names.fullmatch(one.rfilename)]
    hashes = {one.rfilename: one.lfs.sha256 if one.lfs else one.blob_id for one in files}
    return {name: hash_ for name, hash_ in hashes.items() if hash_}
