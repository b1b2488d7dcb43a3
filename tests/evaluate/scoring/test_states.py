"""States as they are scored, against the same worked out another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from actstore.errors import InvalidInputError
from actstore.evaluate.scoring import fitting
from actstore.evaluate.scoring.fitting import fit_digest, fit_rows
from actstore.evaluate.scoring.states import read_states
from actstore.evaluate.scoring.transform import Representation, Transform
from actstore.store import CheckpointGroup, Store, create_store
from tests.support.mteb_data import HIDDEN, text_vectors
from tests.support.vector_store import MODEL, N_LAYERS, add_states

N_TEXTS = 300


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "states.zarr")
    store.add_texts(texts())
    add_states(store, "main", 0)
    return store


def texts() -> list[str]:
    words = np.random.default_rng(0).integers(0, 40, (N_TEXTS, 4))
    return [f"{i} " + " ".join(f"word{w}" for w in row) for i, row in enumerate(words)]


def group_of(store: Store) -> CheckpointGroup:
    return store.checkpoint(MODEL, "main")


def read(store: Store, transform: str, *layers: int) -> NDArray[np.float32]:
    representation = Representation(layers, "mean", Transform.parse(transform))
    return read_states(group_of(store), representation, store.text_rows())


def test_without_a_transform_states_are_what_is_stored(store: Store) -> None:
    np.testing.assert_array_equal(read(store, "", 1), text_vectors(texts(), 1))


def test_layers_are_averaged_and_concatenated_in_the_order_asked(store: Store) -> None:
    by_layer = [text_vectors(texts(), layer) for layer in (0, 2)]
    np.testing.assert_allclose(read(store, "mean", 0, 2), np.mean(by_layer, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(read(store, "concat", 2, 0), np.hstack(by_layer[::-1]))


def test_centred_states_have_no_mean_and_the_same_differences(store: Store) -> None:
    found, stored = read(store, "center", 0), text_vectors(texts(), 0)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found[1] - found[0], stored[1] - stored[0], atol=1e-5)


def test_whitened_states_are_principal_components_of_variance_one(store: Store) -> None:
    expected = PCA(whiten=True).fit_transform(text_vectors(texts(), 1).astype(np.float64))
    found = read(store, "whiten", 1)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)
    np.testing.assert_allclose(np.cov(found.T), np.eye(HIDDEN), atol=1e-4)


def test_directions_without_variance_are_left_out(store: Store) -> None:
    found = read(store, "concat+whiten", 1, 1)  # every direction twice: half of them are empty
    assert found.shape == (N_TEXTS, HIDDEN)
    np.testing.assert_allclose(np.cov(found.T), np.eye(HIDDEN), atol=1e-3)


def test_dims_keeps_the_first_and_l2_comes_last(store: Store) -> None:
    found = read(store, "dims5+l2", 0)
    kept = text_vectors(texts(), 0)[:, :5]
    np.testing.assert_allclose(found, kept / np.linalg.norm(kept, axis=1, keepdims=True), rtol=1e-6)


def test_a_fit_is_made_once_and_kept_in_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(store, "whiten", 0)

    def refuse(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitting, "_fit", refuse)
    np.testing.assert_array_equal(read(store, "whiten", 0), first)
    with pytest.raises(AssertionError, match="fitted again"):
        read(store, "whiten", 1)


def test_texts_extracted_later_make_another_fit(store: Store) -> None:
    representation = Representation((0,), "mean", Transform(fit="center"))
    before = fit_digest(group_of(store), representation)
    store.add_texts([f"later {i}" for i in range(70)])
    assert fit_digest(group_of(store), representation) == before  # not extracted yet
    add_states(store, "main", 0)
    assert fit_digest(group_of(store), representation) != before


def test_a_fit_reads_whole_blocks_spread_over_all_texts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_chunk = group_of(store).layout.rows_per_chunk
    monkeypatch.setattr(fitting, "_MAX_ROWS", 2 * per_chunk)
    rows = fit_rows(group_of(store), "mean")
    assert len(np.unique(rows // per_chunk)) == 2
    assert rows[0] == 0
    assert rows[-1] == N_TEXTS - 1


def test_one_text_cannot_be_fitted_on(tmp_path: Path) -> None:
    store = create_store(tmp_path / "one.zarr")
    store.add_texts(["word1"])
    add_states(store, "main", 0)
    with pytest.raises(InvalidInputError, match=r"center is fitted.*main has 1\. Extract"):
        read(store, "center", 0)
    assert N_LAYERS > 1


def test_too_wide_vectors_are_not_whitened(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_MAX_WIDTH", HIDDEN)
    with pytest.raises(InvalidInputError, match=f"limit is {HIDDEN}. Concatenate fewer"):
        read(store, "concat+whiten", 0, 1)
