"""Token metrics of every text, from the command's request to the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from actstore import metrics
from actstore.extract import TokenSampleRequest, extract
from actstore.store import Store, describe_store
from tests.support.extraction import request_of, shards

ORACLES = {"prompt_entropy": metrics.prompt_entropy, "curvature": metrics.curvature}


def test_every_text_has_the_metrics_of_its_token_states(store: Store, pythia_folder: Path) -> None:
    rows = store.text_rows()
    request = request_of(
        pythia_folder,
        checkpoints=("step0",),
        dtype="float32",
        token_metrics=True,
        token_sample=TokenSampleRequest("all", rows),
    )
    extract(store, request)
    group = store.checkpoint("pythia-nano", "step0")
    sample = group.token_sample("all")
    spans = sample.spans.sort_values("row")
    for layer in group.layers:
        texts = [sample.states(layer, *ends) for ends in spans[["start", "stop"]].to_numpy()]
        for name, oracle in ORACLES.items():
            expected = [oracle(states) for states in texts]
            np.testing.assert_allclose(
                group.read_values(name, layer, rows), expected, rtol=0, atol=2e-5
            )
    (described,) = describe_store(store).models[0].checkpoints
    assert described.text_values == ("curvature", "prompt_entropy")
    dataset = store.dataset("pythia-nano")
    assert dataset["curvature"].shape == (1, len(group.layers), len(rows))


def test_a_model_without_final_norm_has_them_too(store: Store, bert_folder: Path) -> None:
    extract(store, request_of(bert_folder, token_metrics=True))
    values = store.dataset("bert-nano")["prompt_entropy"].values
    assert np.isfinite(values).all()


def test_they_are_added_to_a_finished_store_and_leave_its_states_alone(
    store: Store, pythia_folder: Path
) -> None:
    with_metrics = request_of(pythia_folder, checkpoints=("step0",), token_metrics=True)
    extract(store, replace(with_metrics, token_metrics=False))
    before = shards(store.path)
    extract(store, with_metrics)
    after = shards(store.path)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2 * 3  # two metrics, three shards
    extract(store, with_metrics)
    assert shards(store.path) == after
