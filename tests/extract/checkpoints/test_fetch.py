"""Checkpoints that were fetched are loaded where there is no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, PartlyDoneError, UnknownNameError
from actstore.extract.checkpoints.fetch import fetch_models
from actstore.extract.checkpoints.fingerprint import weights_digest
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.tokenise import load_tokenizer
from tests.support.dataset_hub import DatasetHub, serve

MODEL = "actstore-test/pythia-nano"
NAMES = ("step0", "step16", "step64")


@pytest.fixture
def hub(pythia_folder: Path) -> DatasetHub:
    """Each checkpoint is a branch; there are weights of another format too."""
    hub = DatasetHub()
    for index, name in enumerate(NAMES):
        commit = f"{index + 1:040x}"
        files = {path.name: path.read_bytes() for path in (pythia_folder / name).iterdir()}
        hub.repos.setdefault(MODEL, {})[commit] = {**files, "tf_model.h5": bytes(1000)}
        hub.branches[MODEL, name] = commit
    hub.branches[MODEL, "main"] = f"{len(NAMES):040x}"
    return hub


@pytest.fixture
def cut_off(
    hub: DatasetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    with serve(monkeypatch, hub, tmp_path / "cache") as cut:
        yield cut


def test_fetched_checkpoints_are_found_and_loaded_offline(
    cut_off: Callable[[], None], pythia_folder: Path
) -> None:
    report = fetch_models(MODEL, ["step0", "step16"])
    cut_off()
    for name, snapshot in zip(("step0", "step16"), report.snapshots, strict=True):
        source = find_source(MODEL, name)
        assert source.revision == snapshot.commit
        there = find_source(str(pythia_folder), name)
        assert weights_digest(source) == weights_digest(there)
        assert len(load_tokenizer(source)) == len(load_tokenizer(there))
    with pytest.raises(UnknownNameError):
        find_source(MODEL, "step64")


def test_weights_of_other_formats_are_left_out(hub: DatasetHub, cut_off: object) -> None:
    (snapshot,) = fetch_models(MODEL, "step0").snapshots
    assert "model.safetensors" in snapshot.files
    assert "tf_model.h5" not in snapshot.files
    assert not any(path.endswith(".h5") for path in hub.got)


def test_what_is_there_is_not_downloaded_again(hub: DatasetHub, cut_off: object) -> None:
    fetch_models(MODEL, "step0,step64")
    hub.got.clear()
    report = fetch_models(MODEL, "step0,step64")
    assert hub.got == []
    assert all(snapshot.was_there for snapshot in report.snapshots)


def test_two_names_of_one_commit_are_reported_once(cut_off: object) -> None:
    assert len(fetch_models(MODEL, ["step64", "main"]).snapshots) == 1


def test_one_checkpoint_that_cannot_be_had_does_not_cost_the_others(
    hub: DatasetHub, cut_off: object
) -> None:
    files = dict(hub.repos[MODEL][hub.branches[MODEL, "step0"]])
    del files["model.safetensors"]
    hub.repos[MODEL][hub.branches[MODEL, "step0"]] = files
    with pytest.raises(PartlyDoneError, match=r"1 of 2 checkpoints fetched(?s:.*)- step0: .*safet"):
        fetch_models(MODEL, ["step0", "step16"])
    assert find_source(MODEL, "step16").revision == hub.branches[MODEL, "step16"]
    with pytest.raises(InvalidInputError, match="no safetensors weights at step0"):
        fetch_models(MODEL, "step0")


def test_a_folder_needs_no_fetching(pythia_folder: Path, hub: DatasetHub, cut_off: object) -> None:
    assert fetch_models(str(pythia_folder), "step0").snapshots == ()
    assert hub.got == []
