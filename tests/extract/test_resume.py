"""Extractions that go on where another ended, and what they leave alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from actstore.extract import ExtractionRequest, TokenSampleRequest, extract
from actstore.store import Store
from tests.support.extraction import request_of, shards, snapshot, store_of_texts


def test_a_finished_extraction_loads_no_model_and_writes_nothing(
    store: Store, pythia_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",), lens_head=True)
    extract(store, request)
    before = snapshot(store.path)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("actstore.extract.workers.lazy.load_model", fail)
    report = extract(store, request).checkpoints[0]
    assert (report.shards_written, report.shards_kept, report.lens_head) == (0, 3, "kept")
    changed = {name for name, data in snapshot(store.path).items() if before.get(name) != data}
    assert all(name.startswith("runs/") for name in changed)


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


KILLED = """
import os, sys
from actstore.extract import ExtractionRequest, TokenSampleRequest, extract
from actstore.store import open_store
from actstore.store.records import ledger

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
    sys.argv[2], checkpoints=("step0", "step16"), devices="cpu", batch_tokens=256,
    token_sample=TokenSampleRequest("sample", range(20)), lens_head=False))
"""


def killed_request(folder: Path) -> ExtractionRequest:
    """What KILLED extracts."""
    sample = TokenSampleRequest("sample", range(20))
    return request_of(folder, checkpoints=("step0", "step16"), token_sample=sample)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pythia_folder: Path) -> dict[str, bytes]:
    """The arrays of an extraction that was never interrupted."""
    store = store_of_texts(tmp_path_factory.mktemp("undisturbed") / "s.zarr")
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
