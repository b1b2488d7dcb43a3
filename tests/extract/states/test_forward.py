"""Batches through real models: the numbers, their independence of batching, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.errors import InvalidInputError, InvalidTextError, StateRangeError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.layers import run_layers
from actstore.extract.model.load import LoadedModel, LoadSettings, load_model
from actstore.extract.states import forward
from actstore.extract.states.forward import (
    TOKEN_STATES,
    ForwardSettings,
    pooled_states,
    token_states,
)
from actstore.extract.states.pooling import named_poolings
from actstore.extract.states.transfer import Transfer
from tests.support.late_copies import LateCopier
from tests.support.tiny_models import (
    CONFIGS,
    HIDDEN,
    N_BLOCKS,
    VOCABULARY,
    save_tiny_model,
)
from tests.support.varlen_attention import NAME as VARLEN
from tests.support.varlen_attention import register_varlen_attention

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


def test_what_did_not_fit_is_remembered_for_the_next_shard(tmp_path: Path) -> None:
    model, token_ids = load(tmp_path, "gpt_neox"), texts_of_ids(*[8] * 9)
    settings = ForwardSettings(LAYERS, "float32", batch_tokens=72)
    device = Device(model, room=20)
    first = pooled(model, token_ids, "mean", settings)
    assert model.learnt.too_large == 24
    model.structure.base.register_forward_pre_hook(_at_most(20), with_kwargs=True, prepend=True)
    assert pooled(model, token_ids, "mean", settings).tobytes() == first.tobytes()
    assert len(device.sizes) == 2 * 5


def _at_most(room: int) -> Callable[[object, object, dict[str, Tensor]], None]:
    def check(_: object, __: object, inputs: dict[str, Tensor]) -> None:
        assert inputs["input_ids"].numel() <= room, "was tried, though it is known not to fit"

    return check


def masks_seen(model: LoadedModel) -> list[Tensor | None]:
    """The masks that the model gets from now on."""
    seen: list[Tensor | None] = []

    def note(_: object, __: object, inputs: dict[str, Tensor | None]) -> None:
        seen.append(inputs["attention_mask"])

    model.structure.base.register_forward_pre_hook(note, with_kwargs=True)
    return seen


@pytest.mark.parametrize(
    ("family", "lengths", "masked"),
    [
        ("gpt_neox", (9, 9, 8), False),
        ("bert", (9, 9, 9), False),
        ("bert", (9, 9, 8), True),
    ],
)
def test_a_mask_goes_in_only_where_padding_could_reach_a_text(
    family: str, lengths: tuple[int, ...], masked: bool, tmp_path: Path
) -> None:
    model = load(tmp_path, family)
    seen = masks_seen(model)
    settings = ForwardSettings(LAYERS, "float32", batch_tokens=128)
    pooled(model, texts_of_ids(*lengths), "mean", settings)
    assert [mask is not None for mask in seen] == [masked]


class Mean:
    """The mean of all of a text's values, as a token metric; NaN for texts of one token."""

    name = "mean_value"

    @staticmethod
    def compute(hidden: Tensor, mask: Tensor) -> Tensor:
        total = hidden.float().masked_fill(~mask.unsqueeze(-1), 0).sum(dim=(1, 2))
        n_tokens = mask.sum(dim=1)
        return torch.where(n_tokens > 1, total / (n_tokens * hidden.shape[2]), torch.nan)


@pytest.mark.parametrize("packed", [False, True])
def test_a_token_metric_has_a_value_of_each_text_at_each_layer(
    packed: bool, tmp_path: Path
) -> None:
    model, token_ids = load(tmp_path, "llama"), texts_of_ids(5, 12, 1, 12)
    settings = ForwardSettings(LAYERS, "float16", batch_tokens=40, packed=packed)
    found = np.zeros((len(LAYERS), 4), np.float32)
    for batch in pooled_states(
        model, token_ids, np.arange(4), named_poolings(["last"]), settings, [Mean()]
    ):
        found[:, batch.texts] = batch.values["mean_value"]
    for text, ids in enumerate(token_ids):
        expected = [float(states.mean()) for states in alone(model, ids)]
        np.testing.assert_allclose(
            found[:, text], np.nan if len(ids) == 1 else expected, rtol=1e-4, atol=1e-6
        )


def varlen(model: LoadedModel) -> None:
    """Have a model attend as with flash attention: packed texts are told apart by lengths."""
    register_varlen_attention()
    model.structure.base.set_attn_implementation(VARLEN)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("family", "attention"),
    [
        ("gpt_neox", "sdpa"),
        ("llama", "sdpa"),
        ("gpt2", "sdpa"),
        ("gpt_neox", VARLEN),
        ("llama", VARLEN),
        ("bert", VARLEN),
        ("roberta", VARLEN),
    ],
)
def test_packed_texts_have_the_states_they_have_alone(
    family: str, attention: str, tmp_path: Path
) -> None:
    model, token_ids = load(tmp_path, family), texts_of_ids(3, 17, 1, 9, 9, 30)
    expected = [torch.stack(alone(model, ids)).mean(dim=1) for ids in token_ids]
    if attention == VARLEN:
        varlen(model)
    seen = masks_seen(model)
    settings = ForwardSettings(LAYERS, "float32", batch_tokens=90, packed=True)
    together = pooled(model, token_ids, "mean", settings)
    for text, states in enumerate(expected):
        np.testing.assert_allclose(together[:, text], states, rtol=1e-4, atol=1e-5)
    assert seen[-1] is None


@pytest.mark.parametrize("family", ["mamba", "bert", "t5"])
def test_a_model_that_would_mix_packed_texts_is_refused(family: str, tmp_path: Path) -> None:
    model = load(tmp_path, family)
    packed = ForwardSettings(LAYERS, "float32", batch_tokens=90, packed=True)
    with pytest.raises(InvalidInputError, match="cannot run packed texts.*Leave --packed away"):
        pooled(model, texts_of_ids(4, 9), "mean", packed)


def test_packed_token_states_are_each_tokens_states(tmp_path: Path) -> None:
    model, token_ids = load(tmp_path, "gpt2"), texts_of_ids(4, 11, 6)
    settings = ForwardSettings(LAYERS, "float32", batch_tokens=90, packed=True)
    (piece,) = token_states(model, token_ids, np.arange(3), settings)
    texts = [alone(model, token_ids[i]) for i in piece.texts]
    expected = [torch.cat(states) for states in zip(*texts, strict=True)]
    np.testing.assert_allclose(
        piece.states[TOKEN_STATES], torch.stack(expected), rtol=1e-4, atol=1e-5
    )


def test_states_are_the_same_however_late_their_copies_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, token_ids = load(tmp_path, "llama"), texts_of_ids(*range(1, 30))
    at_once = pooled(model, token_ids, "mean")
    tokens = [p.states for p in token_states(model, token_ids, np.arange(29), FLOAT32)]
    monkeypatch.setattr(forward, "transfer_from", lambda _: Transfer(LateCopier()))
    assert pooled(model, token_ids, "mean").tobytes() == at_once.tobytes()
    late = [p.states for p in token_states(model, token_ids, np.arange(29), FLOAT32)]
    for one, other in zip(late, tokens, strict=True):
        np.testing.assert_array_equal(one[TOKEN_STATES], other[TOKEN_STATES])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", ["gpt_neox", "bert", "mamba"])
def test_states_from_a_gpu_are_those_from_the_cpu(family: str, tmp_path: Path) -> None:
    token_ids = texts_of_ids(*range(1, 40))
    expected = pooled(load(tmp_path, family), token_ids, "mean")
    source = find_source(str(tmp_path), "main")
    on_gpu = load_model(source, LoadSettings(device="cuda", compute_dtype="float32"), lm_head=False)
    np.testing.assert_allclose(pooled(on_gpu, token_ids, "mean"), expected, rtol=1e-3, atol=1e-4)


def test_a_late_batch_that_cannot_be_stored_is_still_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tmp_path, "llama")
    with torch.no_grad():
        model.structure.base.get_input_embeddings().weight[77] = torch.nan  # type: ignore
    token_ids = texts_of_ids(4, 30, 35, 9)
    token_ids[3][2] = 77
    monkeypatch.setattr(forward, "transfer_from", lambda _: Transfer(LateCopier()))
    with pytest.raises(StateRangeError, match=r"layer 0 .*1 texts, rows \[103\]"):
        pooled(model, token_ids, "mean")


def test_states_too_small_for_float16_are_refused(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    with torch.no_grad():
        model.structure.base.get_input_embeddings().weight.mul_(1e-6)  # type: ignore
    with pytest.raises(StateRangeError, match=r"layer 0 .*too small.*--dtype float32"):
        pooled(model, texts_of_ids(4, 9), "mean", ForwardSettings(LAYERS, "float16", 40))
    assert (pooled(model, texts_of_ids(4, 9), "mean") != 0).any()


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
