"""A Hugging Face hub cache built by hand, so that hub names and revisions work without a network.

The layout is huggingface_hub's own:

    <cache>/models--<org>--<name>/blobs/<sha256>
                                  refs/<revision>              text: <40-hex commit>
                                  snapshots/<commit>/<path>    -> ../../blobs/<sha256>
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from huggingface_hub import constants


def put_revision(
    cache: Path, repo: str, folder: Path, revision: str, *, also: Sequence[str] = ()
) -> str:
    """Add the files right in `folder` to the cache as one revision of a model; returns its commit.

    also: further names of the same commit, such as `main`. Equal files share a blob.
    """
    root = cache / f"models--{repo.replace('/', '--')}"
    names = {path.name: _put_blob(root, path) for path in folder.iterdir() if path.is_file()}
    content = repr((repo, revision, sorted(names.items())))
    commit = hashlib.sha1(content.encode()).hexdigest()
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    for name, blob in names.items():
        link = snapshot / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(os.path.relpath(blob, snapshot)))
    for name in (revision, *also):
        ref = root / "refs" / name
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, "utf-8")
    return commit


def use_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Make this the hub cache of the process, and the hub itself out of reach.

    The environment's variables are read when huggingface_hub is imported: too early to set here.
    """
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def _put_blob(root: Path, path: Path) -> Path:
    blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        shutil.copyfile(path, blob)
    return blob
