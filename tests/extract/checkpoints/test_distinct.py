"""Checkpoints that are mislabelled are found before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.distinct import require_distinct_weights, same_weights
from actstore.extract.checkpoints.sources import Source, find_source
from tests.extract.conftest import HUB_MODEL
from tests.support.hub import put_revision, use_cache
from tests.support.hub_server import commit_of, hub_server

STEPS = ("step0", "step16", "step64")


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A copy to change."""
    shutil.copytree(pythia_folder, tmp_path / "m")
    return tmp_path / "m"


def sources_of(model: Path | str, *names: str) -> list[Source]:
    return [find_source(str(model), name) for name in names]


def grouped(sources: list[Source]) -> list[set[str]]:
    return [{one.checkpoint for one in group} for group in same_weights(sources)]


def test_different_checkpoints_are_distinct(
    folder: Path, hub_model: tuple[str, dict[str, str]]
) -> None:
    for model in (folder, hub_model[0]):
        assert grouped(sources_of(model, *STEPS)) == []
        require_distinct_weights(sources_of(model, *STEPS))


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_the_same_weights_under_two_names_are_refused(
    where: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "step64/model.safetensors", folder / "step16")
    (folder / "step16" / "config.json").write_text(
        (folder / "step16" / "config.json").read_text("utf-8") + " ", "utf-8"
    )  # another commit
    for name in STEPS:
        put_revision(tmp_path / "hub", HUB_MODEL, folder / name, name)
    use_cache(monkeypatch, tmp_path / "hub")
    sources = sources_of(folder if where == "folder" else HUB_MODEL, *STEPS)
    assert grouped(sources) == [{"step16", "step64"}]
    with pytest.raises(InvalidInputError, match=r"step16 and step64\..*205.*--same-weights"):
        require_distinct_weights(sources)


def test_main_may_be_the_latest_step_but_no_other(hub_model: tuple[str, dict[str, str]]) -> None:
    name, _ = hub_model  # whose main is its step64
    assert grouped(sources_of(name, "main", *STEPS)) == [{"step64", "main"}]
    require_distinct_weights(sources_of(name, "main", *STEPS))
    require_distinct_weights(sources_of(name, "main", "step64"))


def test_a_middle_step_that_is_main_is_refused(folder: Path) -> None:
    shutil.copytree(folder / "step16", folder, dirs_exist_ok=True)
    with pytest.raises(InvalidInputError, match="step16 and main"):
        require_distinct_weights(sources_of(folder, "step16", "main"))


def test_three_of_which_one_is_main_are_refused(folder: Path) -> None:
    for name in ("step16", "main"):
        shutil.copytree(folder / "step64", folder / name, dirs_exist_ok=True)
    with pytest.raises(InvalidInputError, match="step16, step64 and main"):
        require_distinct_weights(sources_of(folder, "main", *STEPS))


def test_one_file_of_several_in_common_is_found(folder: Path) -> None:
    for name in STEPS:
        model = AutoModel.from_pretrained(folder / name)
        (folder / name / "model.safetensors").unlink()
        model.save_pretrained(folder / name, max_shard_size="40KB")
    first = sorted((folder / "step64").glob("model-*.safetensors"))[0]
    shutil.copy(first, folder / "step16")
    assert grouped(sources_of(folder, *STEPS)) == [{"step16", "step64"}]


def test_the_same_weights_in_other_files_are_found(folder: Path) -> None:
    tensors = load_file(folder / "step64/model.safetensors")
    save_file(tensors, folder / "step16/model.safetensors", {"format": "pt", "note": "again"})
    assert grouped(sources_of(folder, *STEPS)) == [{"step16", "step64"}]


def test_weights_that_differ_only_inside_a_tensor_are_distinct(folder: Path) -> None:
    tensors = load_file(folder / "step64/model.safetensors")
    tensors["gpt_neox.embed_in.weight"][150, 7] += 1
    save_file(tensors, folder / "step16/model.safetensors", {"format": "pt"})
    assert grouped(sources_of(folder, *STEPS)) == []


def test_a_damaged_file_is_found_too(folder: Path) -> None:
    (folder / "step16/model.safetensors").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"step16/model\.safetensors"):
        same_weights(sources_of(folder, *STEPS))


def test_what_is_not_downloaded_is_compared_by_what_the_hub_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(monkeypatch, tmp_path)
    hashes = {"step1": "a" * 64, "step2": "b" * 64, "step3": "b" * 64, "main": "b" * 64}
    sources = [Source("org/m", name, "org/m", commit_of(name)) for name in hashes]
    files = {name: {"model.safetensors": h, "README.md": "r"} for name, h in hashes.items()}
    with hub_server(monkeypatch, "org/m", files):
        assert grouped(sources) == [{"step2", "step3", "main"}]
        pickles = {n: {"pytorch_model.bin": f["model.safetensors"]} for n, f in files.items()}
    with hub_server(monkeypatch, "org/m", pickles):
        assert grouped(sources) == []
        assert len(same_weights(sources, pickled=True)) == 1


def test_what_nobody_knows_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_cache(monkeypatch, tmp_path)
    assert same_weights([Source("o/m", n, "o/m", commit_of(n)) for n in ("a", "b")]) == []
