"""Batches through real models: the numbers, their independence of batching, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.errors import InvalidInputError, InvalidTextError, StateRangeError
from actstore.extract.forward import (
    TOKEN_STATES,
    ForwardSettings,
    batches,
    pooled_states,
    token_states,
)
from actstore.extract.layers import run_layers
from actstore.extract.load import LoadedModel, LoadSettings, load_model
from actstore.extract.pooling import named_poolings
from actstore.extract.sources import find_source
from tests.support.tiny_models import (
    CONFIGS,
    HIDDEN,
    N_BLOCKS,
    VOCABULARY,
    save_tiny_model,
)

LAYERS = tuple(range(N_BLOCKS + 1))
FLOAT32 = ForwardSettings(LAYERS, "float32", batch_tokens=40)


def texts_of_ids(*lengths: int) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(0)
    return [rng.integers(8, VOCABULARY, n).astype(np.int32) for n in lengths]


def load(folder: Path, family: str) -> LoadedModel:
    save_tiny_model(folder, family)
    return load_model(find_source(str(folder), "main"), LoadSettings(device="cpu"), lm_head=False)


def pooled(
    model: LoadedModel,
    token_ids: Sequence[NDArray[np.int32]],
    pooling: str,
    settings: ForwardSettings = FLOAT32,
) -> NDArray[np.floating]:
    """(layer, text, hidden), texts in the order given."""
    rows = np.arange(len(token_ids)) + 100
    out = np.full((len(settings.layers), len(token_ids), HIDDEN), np.nan, settings.dtype)
    for piece in pooled_states(model, token_ids, rows, named_poolings([pooling]), settings):
        out[:, piece.texts] = piece.states[pooling]
    return out


def alone(model: LoadedModel, ids: NDArray[np.int32]) -> list[Tensor]:
    """The states of one text that goes through the model by itself, by layer."""
    kept: list[Tensor] = []
    token_ids = torch.from_numpy(ids.astype(np.int64))[None]
    mask = torch.ones_like(token_ids)
    run_layers(model.structure, token_ids, mask, LAYERS, lambda _, h: kept.append(h[0].clone()))
    return kept


@pytest.mark.parametrize("family", CONFIGS)
def test_padding_and_the_other_texts_do_not_change_a_texts_vector(
    family: str, tmp_path: Path
) -> None:
    model, token_ids = load(tmp_path, family), texts_of_ids(3, 17, 1, 9, 9, 30)
    together = pooled(model, token_ids, "mean")
    for text, ids in enumerate(token_ids):
        expected = torch.stack(alone(model, ids)).mean(dim=1)
        np.testing.assert_allclose(together[:, text], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 1e-3)])
@pytest.mark.parametrize("family", ["gpt_neox", "llama", "gemma2", "gpt2", "mamba", "opt", "t5"])
def test_mean_normed_is_the_mean_of_the_normed_tokens(
    family: str, dtype: str, bound: float, tmp_path: Path
) -> None:
    model, token_ids = load(tmp_path, family), texts_of_ids(5, 12, 2)
    settings = ForwardSettings(LAYERS, dtype, batch_tokens=40)
    normed = pooled(model, token_ids, "mean_normed", settings).astype(np.float32)
    norm = model.structure.final_norm
    assert isinstance(norm, nn.Module)
    for text, ids in enumerate(token_ids):
        with torch.inference_mode():
            expected = torch.stack([norm(h[None])[0].mean(0) for h in alone(model, ids)]).numpy()
        error = np.linalg.norm(normed[:, text] - expected) / np.linalg.norm(expected)
        assert error < bound


def test_token_states_are_each_tokens_states_at_each_layer(tmp_path: Path) -> None:
    model, token_ids = load(tmp_path, "gpt_neox"), texts_of_ids(4, 11, 6)
    for piece in token_states(model, token_ids, np.arange(3), FLOAT32):
        texts = [alone(model, token_ids[i]) for i in piece.texts]
        expected = [torch.cat(states) for states in zip(*texts, strict=True)]
        np.testing.assert_allclose(
            piece.states[TOKEN_STATES], torch.stack(expected), rtol=1e-4, atol=1e-5
        )


def test_batches_take_every_text_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    found = batches(lengths, 256)
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert all(len(b) * lengths[b].max() <= 256 or len(b) == 1 for b in found)
    assert all((lengths[b].max() - lengths[b]).sum() <= 4 for b in found)
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)


def test_the_same_texts_give_the_same_bits(tmp_path: Path) -> None:
    model, token_ids = load(tmp_path, "llama"), texts_of_ids(*range(1, 30))
    first, second = pooled(model, token_ids, "mean"), pooled(model, token_ids, "mean")
    assert first.tobytes() == second.tobytes()


class Device:
    """Stands for a device with room for so many tokens: torch raises the same error on a GPU."""

    def __init__(self, model: LoadedModel, room: int) -> None:
        self.sizes: list[int] = []
        self.room = room
        model.structure.base.register_forward_pre_hook(self.allocate, with_kwargs=True)

    def allocate(self, _: object, __: object, inputs: dict[str, Tensor]) -> None:
        if inputs["input_ids"].numel() > self.room:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append(inputs["input_ids"].numel())


def test_a_batch_that_does_not_fit_goes_through_in_halves(tmp_path: Path) -> None:
    model, token_ids = load(tmp_path, "gpt_neox"), texts_of_ids(*[8] * 9)
    settings = ForwardSettings(LAYERS, "float32", batch_tokens=72)
    whole = pooled(model, token_ids, "mean", settings)
    device = Device(model, room=20)
    np.testing.assert_allclose(
        pooled(model, token_ids, "mean", settings), whole, rtol=1e-4, atol=1e-6
    )
    assert max(device.sizes) <= 20
    assert sum(device.sizes) == 72


def test_a_text_that_does_not_fit_alone_is_named(tmp_path: Path) -> None:
    model = load(tmp_path, "gpt_neox")
    Device(model, room=20)
    with pytest.raises(InvalidInputError, match=r"row 101 \(30 tokens\) .*--max-tokens"):
        pooled(model, texts_of_ids(4, 30), "mean")


def test_states_beyond_float16_are_refused_with_layer_rows_and_remedy(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    with torch.no_grad():
        model.structure.base.get_parameter("layers.1.mlp.down_proj.weight").mul_(1e8)
    settings = ForwardSettings(LAYERS, "float16", 40)
    with pytest.raises(StateRangeError, match=r"layer 2 \(mean\).*rows \[10.*--dtype float32"):
        pooled(model, texts_of_ids(4, 9), "mean", settings)
    assert np.isfinite(pooled(model, texts_of_ids(4, 9), "mean")).all()


def test_states_that_the_model_itself_makes_infinite_are_refused(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    with torch.no_grad():
        model.structure.base.get_input_embeddings().weight[77] = torch.nan  # type: ignore
    token_ids = texts_of_ids(4, 9)
    token_ids[1][3] = 77
    with pytest.raises(StateRangeError, match=r"layer 0 .*1 texts, rows \[101\].*--compute-dtype"):
        pooled(model, token_ids, "max")


def test_a_text_without_tokens_never_reaches_the_model(tmp_path: Path) -> None:
    model = load(tmp_path, "gpt_neox")
    with pytest.raises(InvalidTextError, match="have no token"):
        pooled(model, texts_of_ids(4, 0), "mean")
