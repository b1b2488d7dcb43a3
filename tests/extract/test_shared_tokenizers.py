"""Tokenizers of many checkpoints are loaded once for all that are the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.shared_tokenizers import shared_tokenizer
from actstore.extract.tokenise import load_tokenizer, tokenizer_digest

STEPS = ("step0", "step16", "step64")


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A copy to change; its tokenizers are no others'."""
    shutil.copytree(pythia_folder, tmp_path / "m")
    for name in STEPS:
        add_token(tmp_path / "m" / name, f"<{tmp_path}>")
    return tmp_path / "m"


def add_token(folder: Path, token: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token])
    tokenizer.save_pretrained(folder)


def test_checkpoints_with_the_same_files_share_one(folder: Path) -> None:
    found = [shared_tokenizer(find_source(str(folder), name)) for name in STEPS]
    assert len({id(tokenizer) for tokenizer, _ in found}) == 1
    alone = load_tokenizer(find_source(str(folder), "step0"))
    assert {digest for _, digest in found} == {tokenizer_digest(alone)}
    assert alone is not found[0][0]


def test_a_tokenizer_that_differs_is_loaded_for_itself(folder: Path) -> None:
    first, digest = shared_tokenizer(find_source(str(folder), "step0"))
    add_token(folder / "step16", "<another>")
    other, changed = shared_tokenizer(find_source(str(folder), "step16"))
    assert other is not first
    assert changed != digest
    assert len(other("<another>")["input_ids"]) == 1


def test_a_setting_that_changes_the_class_is_no_other_checkpoints(folder: Path) -> None:
    first, _ = shared_tokenizer(find_source(str(folder), "step0"))
    path = folder / "step16" / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | {"model_max_length": 17}), "utf-8")
    other, _ = shared_tokenizer(find_source(str(folder), "step16"))
    assert (first.model_max_length, other.model_max_length) == (64, 17)


def test_a_checkpoint_without_tokenizer_is_refused_beside_one_with(folder: Path) -> None:
    shared_tokenizer(find_source(str(folder), "step0"))
    for path in (folder / "step16").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InvalidInputError, match="tokenizer of m at step16"):
        shared_tokenizer(find_source(str(folder), "step16"))


def test_code_that_comes_with_a_model_is_run_for_each(folder: Path) -> None:
    source = find_source(str(folder), "step0", trust_remote_code=True)
    assert shared_tokenizer(source)[0] is not shared_tokenizer(source)[0]
