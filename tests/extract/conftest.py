"""Models that the tests of this folder share; each is written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.store import Store
from tests.support.extraction import store_of_texts
from tests.support.hub import put_revision, use_cache
from tests.support.tiny_models import save_tiny_model

CHECKPOINTS = ("step0", "step16", "step64")
HUB_MODEL = "actstore-test/pythia-nano"


@pytest.fixture(scope="session")
def pythia_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sub-folder per checkpoint of a tiny GPT-NeoX."""
    folder = tmp_path_factory.mktemp("models") / "pythia-nano"
    return save_tiny_model(folder, "gpt_neox", checkpoints=CHECKPOINTS)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT: no final norm, no head."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "bert-nano", "bert")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that holds texts."""
    return store_of_texts(tmp_path / "s.zarr")


@pytest.fixture
def hub_model(
    pythia_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, str]]:
    """The checkpoints as revisions on a hub (the last is `main` too), and their commits."""
    cache = tmp_path / "hub"
    commits = {
        name: put_revision(
            cache, HUB_MODEL, pythia_folder / name, name, also=["main"] * (name == CHECKPOINTS[-1])
        )
        for name in CHECKPOINTS
    }
    use_cache(monkeypatch, cache)
    return HUB_MODEL, commits
