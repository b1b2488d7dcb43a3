"""Small tasks with their data at hand, run as mteb has them and quickened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from mteb._set_seed import _set_seed
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray

from actstore.evaluate.fast import quicken
from actstore.evaluate.suites import catalogue
from tests.support.mteb_data import leaves, scores_of
from tests.support.vector_store import suite_of


def loaded_task(name: str, splits: Sequence[str] = ()) -> Any:
    """A task with the small hub's data. splits: in place of the usual one."""
    selection = suite_of(name).tasks[0]
    task = catalogue.new_task(name, list(splits) or selection.splits, selection.subsets)
    task.load_data()
    return task


def task_with(name: str, **splits: dict[str, list[Any]] | Dataset) -> Any:
    """A task of one subset with data of one's own; all splits but `train` are evaluated."""
    task = catalogue.new_task(name)
    task._eval_splits = [split for split in splits if split != "train"]
    data = {s: d if isinstance(d, Dataset) else Dataset.from_dict(d) for s, d in splits.items()}
    task.dataset, task.data_loaded = DatasetDict(data), True
    return task


def run(model: AbsEncoder, task: Any) -> dict[str, Any]:
    """The leaves of a task's scores, its generators as in a task just made."""
    task.rng_state, task.np_rng = _set_seed(task.seed)
    return leaves(scores_of(model, task))


def assert_same(task: Any, model: AbsEncoder) -> dict[str, Any]:
    """Quickened, the task gives what it gives, at the first run and at the second."""
    quick, expected = quicken(task), run(model, task)
    assert quick is not task
    assert run(model, quick) == expected
    assert run(model, quick) == expected
    return expected


class GivenVectors(AbsEncoder):
    """A model that has the vectors of some texts."""

    def __init__(
        self,
        vectors: dict[str, NDArray[Any]],
        similarity: ScoringFunction | None = ScoringFunction.COSINE,
    ) -> None:
        self.vectors = vectors
        self.n_encoded = 0
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/given", "similarity_fn_name": similarity}
        )

    def encode(self, inputs: Any, **_: Any) -> Any:
        texts = [text for batch in inputs for text in batch["text"]]
        self.n_encoded += len(texts)
        return np.stack([self.vectors[text] for text in texts])
