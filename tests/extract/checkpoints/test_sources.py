"""Finding checkpoints: on a hub, in folders, and what is said where there are none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.extract.checkpoints.fingerprint import weights_digest
from actstore.extract.checkpoints.sources import (
    find_source,
    known_checkpoints,
    weight_files,
)
from actstore.extract.model.load import LoadSettings, load_model
from tests.support.hub import put_revision


def test_each_revision_on_the_hub_has_its_own_weights(
    hub_model: tuple[str, dict[str, str]],
) -> None:
    name, commits = hub_model
    digests, norms = set(), set()
    for checkpoint, commit in commits.items():
        source = find_source(name, checkpoint)
        assert (source.name, source.revision) == (name, commit)
        digests.add(weights_digest(source))
        model = load_model(source, LoadSettings(device="cpu"), lm_head=False)
        norms.add(model.structure.base.get_parameter("final_layer_norm.weight").sum().item())
    assert len(digests) == len(norms) == len(commits)


def test_a_revisions_model_is_what_from_pretrained_gives(
    hub_model: tuple[str, dict[str, str]],
) -> None:
    name, _ = hub_model
    ours = load_model(find_source(name, "step16"), LoadSettings(device="cpu"), lm_head=False)
    theirs = AutoModel.from_pretrained(name, revision="step16", dtype=torch.float32)
    for path, parameter in theirs.named_parameters():
        assert torch.equal(parameter, ours.structure.base.get_parameter(path))


def test_main_is_a_revision_like_any_other(hub_model: tuple[str, dict[str, str]]) -> None:
    name, commits = hub_model
    assert find_source(name, "main").revision == commits["step64"]


def test_an_unknown_revision_names_the_nearest(hub_model: tuple[str, dict[str, str]]) -> None:
    name, _ = hub_model
    with pytest.raises(
        UnknownNameError, match=r"no checkpoint of .* 'step18'\. Did you.* 'step16'"
    ):
        find_source(name, "step18")
    assert known_checkpoints(name) == ["step0", "step16", "step64", "main"]


@pytest.mark.usefixtures("hub_model")
def test_an_unknown_model_names_those_in_the_cache() -> None:
    with pytest.raises(UnknownNameError, match=r"no model 'EleutherAI/none'.*pythia-nano"):
        find_source("EleutherAI/none", "main")


def test_checkpoints_of_a_folder_are_its_sub_folders(pythia_folder: Path) -> None:
    assert known_checkpoints(str(pythia_folder)) == ["step0", "step16", "step64"]
    source = find_source(str(pythia_folder), "step16")
    assert (source.name, source.revision) == (str(pythia_folder / "step16"), None)
    with pytest.raises(UnknownNameError, match="'step64'"):
        find_source(str(pythia_folder), "step65")


def test_main_of_a_folder_is_the_folder_itself(bert_folder: Path) -> None:
    assert known_checkpoints(str(bert_folder)) == ["main"]
    assert find_source(str(bert_folder), "main").name == str(bert_folder)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"no folder \./nowhere"):
        find_source("./nowhere", "main")


def test_weights_in_several_files_are_all_found(tmp_path: Path, bert_folder: Path) -> None:
    model = AutoModel.from_pretrained(bert_folder)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    files = weight_files(find_source(str(tmp_path), "main"))
    assert len(files) > 1
    assert sorted(files) == sorted(tmp_path.glob("model-*.safetensors"))


def test_pickled_weights_are_read_only_when_asked_for(tmp_path: Path, bert_folder: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bert_folder / name, tmp_path)
    torch.save(AutoModel.from_pretrained(bert_folder).state_dict(), tmp_path / "pytorch_model.bin")
    source = find_source(str(tmp_path), "main")
    with pytest.raises(InvalidInputError, match="--pickled-weights"):
        weight_files(source)
    assert weight_files(source, pickled=True) == [tmp_path / "pytorch_model.bin"]
    load_model(source, LoadSettings(device="cpu", pickled_weights=True), lm_head=False)


def test_a_hub_model_is_found_offline_by_a_fresh_process(
    tmp_path: Path, pythia_folder: Path
) -> None:
    commit = put_revision(tmp_path / "hub", "org/m", pythia_folder / "step0", "step0")
    program = (
        "from actstore.extract.checkpoints.sources import find_source\n"
        "print(find_source('org/m','step0'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"revision='{commit}'" in done.stdout
