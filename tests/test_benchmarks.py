"""The benchmarks with the clock off: the cases they compare do the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actstore.stdlib_text import docstrings
from actstore.store import open_store
from benchmarks import evaluation, extraction, opening, reading


def test_reading_compares_equal_results(tmp_path: Path) -> None:
    suites = reading.build(tmp_path, n_texts=200, n_layers=3, hidden=16)
    for cases in suites.values():
        results = {name: run() for name, run in cases.items()}
        assert all(result.dtype == np.float32 for result in results.values())
        np.testing.assert_array_equal(results["actstore"], results["memory map"])
        np.testing.assert_array_equal(results["zarr-python"], results["memory map"])


def test_opening_compares_the_same_checkpoints(tmp_path: Path) -> None:
    cases = opening.make_cases(opening.build(tmp_path, n_checkpoints=3, n_texts=10))
    assert len(cases["reading zarr.json"]()) == 3
    for name in ("store.dataset", "xarray.concat"):
        assert cases[name]()["mean_pool"].shape == (3, 25, 10, 1024)


@pytest.mark.slow
def test_extraction_compares_equal_vectors(tmp_path: Path) -> None:
    texts = [record.text for record in docstrings()[:40]]
    extraction.save_model(tmp_path / "model", 32, 2, texts)
    cases = extraction.make_cases(tmp_path, texts)
    cases["bare forward"]()
    cases["actstore extract"]()
    store = open_store(tmp_path / "store.zarr")
    usual = cases["output_hidden_states"]()
    for layer in range(2):  # transformers' last hidden state is after the final norm
        ours = store.embeddings(
            store.only_model(), checkpoint="main", layer=layer, pooling="mean", texts=texts
        )
        np.testing.assert_allclose(ours, usual[layer], atol=2e-3, rtol=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_evaluation_compares_equal_scores(tmp_path: Path) -> None:
    cases = evaluation.make_cases(tmp_path, n_layers=1, hidden=16)
    ours, theirs = (cases[name]() for name in ("actstore eval", "mteb, vectors in memory"))
    assert len(ours) == len(theirs) >= 5
    assert ours == theirs
