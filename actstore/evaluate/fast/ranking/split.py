"""One split of a reranking task: what all layers share, and the scores of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mteb._create_dataloaders import create_dataloader
from mteb.types import PromptType

from actstore.evaluate.fast.ranking.metrics import scores_of
from actstore.evaluate.fast.ranking.plan import make_plan
from actstore.evaluate.fast.ranking.rank import rank
from actstore.evaluate.fast.ranking.schedule import make_schedule
from actstore.evaluate.fast.ranking.similarity import Similarity

PARTS = ("corpus", "queries", "relevant_docs", "top_ranked")
"""Of the data of a split."""


@dataclass(frozen=True)
class EncodeCall:
    """How mteb would call the model."""

    metadata: Any
    subset: str
    split: str
    options: dict[str, Any]
    num_proc: int | None
    timer: Any

    def encode(self, model: Any, loader: Any, prompt_type: PromptType) -> Any:
        return model.encode(
            loader,
            task_metadata=self.metadata,
            hf_split=self.split,
            hf_subset=self.subset,
            prompt_type=prompt_type,
            **self.options,
        )

    def phase(self, name: str) -> Any:
        """Times a phase under mteb's name for it."""
        return self.timer(name, split=self.split, subset=self.subset)


class RankingSplit:
    """One split of one subset."""

    def __init__(
        self, data: Mapping[str, Any], k_values: Sequence[int], top_k: int, *, merge: bool
    ) -> None:
        """merge: whether queries named `<base>_<i>` are also scored merged by base."""
        self._data: dict[str, Any] = {part: data.get(part) for part in PARTS}
        self._k_values, self._top_k = list(k_values), top_k
        self.plan = None if data.get("top_ranked") is None else make_plan(data, merge=merge)
        """None where mteb's own code must score."""
        self._schedule = None if self.plan is None else make_schedule(self.plan, top_k)
        self._loaders: dict[str, Any] = {}

    def is_of(self, data: Mapping[str, Any]) -> bool:
        return all(data.get(part) is self._data[part] for part in PARTS)

    def scores(self, model: Any, call: EncodeCall) -> dict[str, Any] | None:
        """All scores by mteb's names, or None for vectors that are not float32.

        Raises NotANumberError.
        """
        assert self.plan is not None
        assert self._schedule is not None
        with call.phase("Encoding queries"):
            texts = call.encode(model, self._queries(call), PromptType.query)
        with call.phase("Encoding corpus"):
            documents = call.encode(model, self._corpus(call), PromptType.document)
        if not (_is_float32(texts) and _is_float32(documents)):
            return None
        with call.phase("Computing similarity"):
            similarity = Similarity(np.asarray(texts), np.asarray(documents))
            del texts, documents
            ranking = rank(self.plan, self._schedule, similarity, self._top_k)
        with call.phase("Scoring"):
            scores = scores_of(ranking.queries, self._k_values)
            merged = {} if ranking.groups is None else scores_of(ranking.groups, self._k_values)
        return {**scores, **{f"max_over_subqueries_{name}": s for name, s in merged.items()}}

    def _queries(self, call: EncodeCall) -> Any:
        """mteb's loader of the distinct queries."""
        assert self.plan is not None
        rows = self._data["queries"].select(self.plan.first_rows)
        return self._loader(call, rows, PromptType.query, call.options)

    def _corpus(self, call: EncodeCall) -> Any:
        options = {"batch_size": call.options.get("batch_size", 32)}
        return self._loader(call, self._data["corpus"], PromptType.document, options)

    def _loader(
        self, call: EncodeCall, data: Any, prompt_type: PromptType, options: Mapping[str, Any]
    ) -> Any:
        """Made once: mteb joins titles and instructions row by row while it makes one."""
        key = f"{prompt_type} {call.num_proc} {sorted(options.items())}"
        if key not in self._loaders:
            self._loaders[key] = create_dataloader(
                data,
                task_metadata=call.metadata,
                prompt_type=prompt_type,
                num_proc=call.num_proc,
                **options,
            )
        return self._loaders[key]


def _is_float32(vectors: Any) -> bool:
    kinds = (np.float32, torch.float32)
    known = isinstance(vectors, (np.ndarray, torch.Tensor))
    return known and vectors.ndim == 2 and vectors.dtype in kinds
