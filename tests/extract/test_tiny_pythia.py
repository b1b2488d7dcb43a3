from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actstore.extract.tiny_pythia import TinyPythia, train_tiny_pythia

TEXTS = [f"The {place} wheel of the {kind} cart turns." for place in "abcdefgh" for kind in "xyz"]
RECIPE = TinyPythia(
    blocks=2, hidden=16, heads=2, vocabulary=300, positions=32, steps=6, keep=(0, 2), window=16
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    assert train_tiny_pythia(TEXTS, folder, RECIPE) == ["step0", "step2", "step6"]
    return folder


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_every_checkpoint_loads_back_as_a_pythia(trained: Path) -> None:
    for name in ("step0", "step2", "step6", "."):
        model = AutoModelForCausalLM.from_pretrained(trained / name)
        assert model.config.model_type == "gpt_neox"
        assert model.config.use_parallel_residual
        assert not model.config.tie_word_embeddings
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
            assert embedding.weight.shape == (300, 16)


def test_the_tokenizer_gives_any_text_back_and_ends_texts_with_token_0(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained / "step2")
    text = "  Räder, 車輪 and\twheels!"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_tokens_to_ids("<|endoftext|>") == 0 not in ids
    assert tokenizer.model_max_length == 32


def test_the_last_checkpoint_is_the_folder_itself(trained: Path) -> None:
    assert _weights(trained) == _weights(trained / "step6")


def test_training_moves_the_weights_and_lowers_the_loss(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    batch = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        losses = [
            AutoModelForCausalLM.from_pretrained(trained / name)(batch, labels=batch).loss.item()
            for name in ("step0", "step2", "step6")
        ]
    assert losses[2] < losses[1] < losses[0]


def test_the_same_seed_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    train_tiny_pythia(TEXTS, tmp_path, RECIPE)
    for name in ("step0", "step2", "step6"):
        assert _weights(tmp_path / name) == _weights(trained / name)


def test_training_leaves_the_caller_his_random_numbers_and_threads(tmp_path: Path) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_tiny_pythia(TEXTS, tmp_path, RECIPE)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_complete_training_is_not_repeated(trained: Path) -> None:
    before = (trained / "step6" / "model.safetensors").stat().st_mtime_ns
    assert train_tiny_pythia(TEXTS, trained, RECIPE) == ["step0", "step2", "step6"]
    assert (trained / "step6" / "model.safetensors").stat().st_mtime_ns == before


def test_an_interrupted_training_starts_again(trained: Path, tmp_path: Path) -> None:
    train_tiny_pythia(TEXTS, tmp_path, RECIPE)
    (tmp_path / "training.json").unlink()
    (tmp_path / "step2" / "model.safetensors").write_bytes(b"half a fi")
    train_tiny_pythia(TEXTS, tmp_path, RECIPE)
    assert _weights(tmp_path / "step2") == _weights(trained / "step2")


def test_other_texts_are_trained_on_anew(trained: Path, tmp_path: Path) -> None:
    train_tiny_pythia(TEXTS, tmp_path, RECIPE)
    train_tiny_pythia([text.upper() for text in TEXTS], tmp_path, RECIPE)
    assert _weights(tmp_path / "step6") != _weights(trained / "step6")


def test_checkpoints_beyond_the_last_step_are_not_promised() -> None:
    assert TinyPythia(steps=100).kept == (0, 16, 64, 100)
    assert TinyPythia(steps=64).kept == (0, 16, 64)
