"""A store of collected tasks whose states are `text_vectors`, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actstore.evaluate import Suite, TaskSelection, collect
from actstore.store import CheckpointSpec, ShardStats, Store, create_store
from tests.support.mteb_data import HIDDEN, text_vectors

MODEL = "org/vectors"
N_LAYERS = 3
_STATS = ShardStats(0.0, 0, 0, 1.0, "cpu", {})

_MORE_THAN_ONE = {
    **dict.fromkeys(
        ("AmazonReviewsClassification", "MTOPDomainClassification", "MTOPIntentClassification"),
        (("test",), ("en",)),
    ),
    **dict.fromkeys(
        ("MassiveIntentClassification", "MassiveScenarioClassification"), (("test",), ("en",))
    ),
    "AmazonCounterfactualClassification": (("test",), ("en", "en-ext")),
    "STS17": (("test",), ("en-en",)),
    "CataloniaTweetClassification": (("validation", "test"), ("spanish",)),
    "SciRepEvalBiomimicryClassification": (("evaluation",), ("default",)),
    "RuSciBenchCitedCountRegression": (("test",), ("cited_count_ru", "cited_count_en")),
    "CTKFactsNLI": (("validation", "test"), ("default",)),
    "XGlueWPRReranking": (("validation", "test"), ("de", "en")),
    "BUCC.v2": (("test",), ("de-en", "fr-en")),
}
"""The splits and subsets of the tasks that have others than `test` and `default`; those of the
Layer by Layer paper as it has them."""

SELECTIONS = {
    name: TaskSelection.of_all(name, splits, subsets)
    for name, (splits, subsets) in _MORE_THAN_ONE.items()
}


def suite_of(*names: str) -> Suite:
    default = {name: TaskSelection.of_all(name, ["test"], ["default"]) for name in names}
    return Suite("small", "for tests", tuple({**default, **SELECTIONS}[name] for name in names))


def vector_store(
    folder: Path, suite: Suite, *, checkpoints: tuple[str, ...] = ("main",), dtype: str = "float32"
) -> Store:
    """A store with a suite and the states of a model that returns `text_vectors`.

    Layer l of checkpoint c holds the vectors of layer l + N_LAYERS * c.
    """
    store = create_store(folder / "vectors.zarr")
    collect(store, suite)
    for index, checkpoint in enumerate(checkpoints):
        add_states(store, checkpoint, index * N_LAYERS, dtype)
    return store


def add_states(store: Store, checkpoint: str, first: int, dtype: str = "float32") -> None:
    group = store.begin_checkpoint(_spec(checkpoint, dtype))
    group.begin_poolings(["mean"])
    for shard in group.todo(store.text_rows(), ["mean"]):
        texts = store.read_texts(shard.rows)
        states = np.stack([text_vectors(texts, first + layer) for layer in range(N_LAYERS)])
        builder = group.new_builder()
        builder.put(shard.positions, states.astype(dtype))
        n_tokens = np.full(len(texts), 8, np.int32)
        group.commit(shard, {"mean": builder}, n_tokens, np.zeros(len(texts), bool), _STATS)


def _spec(checkpoint: str, dtype: str) -> CheckpointSpec:
    return CheckpointSpec(
        model=MODEL,
        checkpoint=checkpoint,
        n_blocks=N_LAYERS - 1,
        layers=tuple(range(N_LAYERS)),
        hidden_size=HIDDEN,
        dtype=dtype,
        max_tokens=64,
        tokenizer_digest="t",
        weights_digest=checkpoint,
        has_final_norm=True,
    )
