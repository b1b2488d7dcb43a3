"""StoreEncoder used directly in mteb.evaluate."""

from __future__ import annotations

from pathlib import Path

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.cache import ResultCache
from torch.utils.data import DataLoader

from actstore.errors import (
    InvalidInputError,
    MissingShardsError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.evaluate import StoreEncoder, collect
from actstore.evaluate.scoring.encoder import model_meta
from actstore.evaluate.scoring.transform import Representation
from actstore.store import Store
from tests.support.mteb_data import (
    SmallHub,
    VectorModel,
    leaves,
    mteb_warnings_ignored,
    scores_of,
    text_vectors,
)
from tests.support.states import known_store
from tests.support.vector_store import MODEL, N_LAYERS, add_states, suite_of, vector_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    suite = suite_of("STSBenchmark", "AskUbuntuDupQuestions")
    return vector_store(tmp_path_factory.mktemp("encoder"), suite, checkpoints=("step1", "step2"))


def encoder_of(store: Store, checkpoint: str = "step1", layer: int = 0) -> StoreEncoder:
    return StoreEncoder(store, MODEL, checkpoint=checkpoint, layer=layer, pooling="mean")


def test_several_tasks_in_one_evaluation_get_each_their_own_vectors(store: Store) -> None:
    encoder = encoder_of(store, "step2", layer=2)
    for name in ("STSBenchmark", "AskUbuntuDupQuestions", "STSBenchmark"):
        task = mteb.get_task(name)
        expected = scores_of(VectorModel(N_LAYERS + 2), mteb.get_task(name))
        assert leaves(scores_of(encoder, task)) == leaves(expected)


def test_a_float16_store_scores_as_a_model_that_rounds_to_float16(tmp_path: Path) -> None:
    store = vector_store(
        tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",), dtype="float16"
    )

    class Rounded(VectorModel):
        def encode(self, *args: object, **kwargs: object) -> np.ndarray:
            return super().encode(*args, **kwargs).astype(np.float16).astype(np.float32)

    found = scores_of(encoder_of(store), mteb.get_task("STSBenchmark"))
    assert leaves(found) == leaves(scores_of(Rounded(0), mteb.get_task("STSBenchmark")))
    assert leaves(found) != leaves(scores_of(VectorModel(0), mteb.get_task("STSBenchmark")))


def test_vectors_are_float32_rows_in_the_order_asked(store: Store) -> None:
    texts = store.texts("STSBenchmark")["text"].tolist()[::-1]
    texts.append(texts[3])
    task = mteb.get_task("STSBenchmark")
    vectors = encoder_of(store, layer=1).encode(
        DataLoader(Dataset.from_dict({"text": texts})),
        task_metadata=task.metadata,
        hf_split="test",
        hf_subset="default",
    )
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, text_vectors(texts, 1))


def test_an_unknown_text_names_the_task_and_the_commands(store: Store) -> None:
    with pytest.raises(UnknownTextError) as caught:
        scores_of(encoder_of(store), mteb.get_task("SICK-R"))
    message = str(caught.value)
    assert "SICK-R (split test, subset default)" in message
    assert f"actstore collect {store.url} --suite SICK-R" in message
    assert f"actstore extract {store.url} --model {MODEL} --checkpoints step1" in message


def test_a_task_of_known_texts_needs_no_bundle(tmp_path: Path) -> None:
    task = mteb.get_task("SICK-R")
    recorder = VectorModel()
    expected = scores_of(recorder, task)
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=())
    store.add_texts([text for call in recorder.calls for text in call[3]])
    add_states(store, "step1", 0)
    assert leaves(scores_of(encoder_of(store), mteb.get_task("SICK-R"))) == leaves(expected)


def test_texts_that_were_never_extracted_are_loud(tmp_path: Path) -> None:
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",))
    collect(store, suite_of("AskUbuntuDupQuestions"))
    with pytest.raises(MissingShardsError, match="actstore extract"):
        scores_of(encoder_of(store), mteb.get_task("AskUbuntuDupQuestions"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"checkpoint": "step3"}, "step1"),
        ({"layer": 7}, "7"),
        ({"pooling": "meen"}, "mean"),
    ],
)
def test_what_is_not_stored_is_named(store: Store, wrong: dict[str, object], says: str) -> None:
    right: dict[str, object] = {"checkpoint": "step1", "layer": 0, "pooling": "mean"}
    with pytest.raises(UnknownNameError, match=says):
        StoreEncoder(store, MODEL, **{**right, **wrong})  # type: ignore[arg-type]


def test_mtebs_cache_keeps_checkpoints_and_layers_apart(store: Store, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    places = [("step1", 0), ("step1", 1), ("step2", 0)]
    with mteb_warnings_ignored():
        for checkpoint, layer in places:
            task = mteb.get_task("STSBenchmark")
            mteb.evaluate(encoder_of(store, checkpoint, layer), task, cache=cache)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("STSBenchmark.json"))
    assert files == [
        f"results/org__vectors/{checkpoint}/experiments/layer_{layer}__pooling_mean/"
        "STSBenchmark.json"
        for checkpoint, layer in places
    ]


def test_a_local_folder_gets_a_name_that_mteb_takes(tmp_path: Path) -> None:
    _, group = known_store(tmp_path / "s.zarr", model="tiny", checkpoint="refs/pr/3")
    meta = model_meta(group, Representation((2,), "mean"))
    assert (meta.name, meta.revision) == ("local/tiny", "refs__pr__3")
    assert meta.experiment_name == "layer_2__pooling_mean"


def test_transformed_states_are_what_mteb_scores(store: Store) -> None:
    """Centred, cut and normalised vectors of a model that computes them, task texts alone."""
    encoder = StoreEncoder(
        store, MODEL, checkpoint="step1", layer=[0, 2], pooling="mean", transform="mean+dims9+l2"
    )

    class Transformed(VectorModel):
        def encode(self, inputs: object, **kwargs: object) -> np.ndarray:
            texts = [text for batch in inputs for text in batch["text"]]  # type: ignore[attr-defined]
            both = (text_vectors(texts, 0) + text_vectors(texts, 2)) / 2
            cut = both[:, :9]
            return (cut / np.linalg.norm(cut, axis=1, keepdims=True)).astype(np.float32)

    found = scores_of(encoder, mteb.get_task("STSBenchmark"))
    assert leaves(found) == leaves(scores_of(Transformed(), mteb.get_task("STSBenchmark")))


def test_several_layers_must_be_combined(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="transform='mean' or transform='concat'"):
        StoreEncoder(store, MODEL, checkpoint="step1", layer=[0, 1])


def test_an_empty_text_is_the_vector_of_zeros(
    tmp_path: Path, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "mteb/AskUbuntuDupQuestions"
    data = small_hub.data[path]
    emptied = data["corpus"].map(
        lambda row, i: {"text": "" if i % 5 == 0 else row["text"]}, with_indices=True
    )
    monkeypatch.setitem(small_hub.data, path, {**data, "corpus": emptied})
    store = vector_store(tmp_path, suite_of("AskUbuntuDupQuestions"), checkpoints=("step1",))

    class ZerosForNothing(VectorModel):
        def encode(self, inputs: object, **kwargs: object) -> np.ndarray:
            texts = [text for batch in inputs for text in batch["text"]]  # type: ignore[attr-defined]
            known = text_vectors([text or "nothing" for text in texts], 1)
            return known * np.array([[bool(text)] for text in texts], np.float32)

    expected = scores_of(ZerosForNothing(), mteb.get_task("AskUbuntuDupQuestions"))
    found = scores_of(encoder_of(store, layer=1), mteb.get_task("AskUbuntuDupQuestions"))
    assert leaves(found) == leaves(expected)
    assert "" not in store.texts()["text"].tolist()
