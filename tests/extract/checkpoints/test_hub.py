"""Finished checkpoints leave the hub cache, and nothing that is still needed does."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

from actstore.errors import UnknownNameError
from actstore.extract.checkpoints.fingerprint import weights_digest
from actstore.extract.checkpoints.hub import cached_revisions, model_cache
from actstore.extract.checkpoints.sources import find_source, known_checkpoints, prune

HubModel = tuple[str, dict[str, str]]


def test_pruning_frees_the_bytes_of_one_checkpoint(hub_model: HubModel) -> None:
    name, _ = hub_model
    blobs = model_cache(name) / "blobs"
    before = sum(path.stat().st_size for path in blobs.iterdir())
    others = [weights_digest(find_source(name, one)) for one in ("step16", "step64")]
    weights = next((model_cache(name) / "snapshots").glob("*/model.safetensors")).stat().st_size
    freed = prune(find_source(name, "step0"))
    assert freed == before - sum(path.stat().st_size for path in blobs.iterdir())
    assert weights <= freed < 1.1 * weights  # tokenizer and configuration are shared
    assert known_checkpoints(name) == ["step16", "step64", "main"]
    with pytest.raises(UnknownNameError):
        find_source(name, "step0")
    assert [weights_digest(find_source(name, one)) for one in ("step16", "step64")] == others
    cache = scan_cache_dir(model_cache(name).parent)
    assert not cache.warnings


def test_all_names_of_a_pruned_commit_go(hub_model: HubModel) -> None:
    name, _ = hub_model
    assert prune(find_source(name, "main")) > 0
    assert sorted(cached_revisions(name)) == ["step0", "step16"]


def test_a_commit_that_another_checkpoint_still_needs_stays(hub_model: HubModel) -> None:
    name, _ = hub_model
    main = find_source(name, "main")
    assert prune(find_source(name, "step64"), keep=[find_source(name, "step0"), main]) == 0
    assert weights_digest(main)


def test_pruning_twice_is_no_error(hub_model: HubModel) -> None:
    source = find_source(hub_model[0], "step0")
    assert prune(source) > 0
    assert prune(source) == 0


def test_the_last_checkpoint_takes_the_model_along(hub_model: HubModel) -> None:
    name, commits = hub_model
    for source in [find_source(name, one) for one in commits]:
        prune(source)
    assert not model_cache(name).exists()


def test_a_folder_is_never_touched(pythia_folder: Path) -> None:
    files = sorted(pythia_folder.rglob("*"))
    assert prune(find_source(str(pythia_folder), "step0")) == 0
    assert sorted(pythia_folder.rglob("*")) == files
