"""A model's stead: vectors of texts, and what mteb makes of them."""

from __future__ import annotations

import functools
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mteb
import numpy as np
from mteb.abstasks import AbsTask
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray

HIDDEN = 16


def text_vectors(texts: list[str], layer: int = 0) -> NDArray[np.float32]:
    """(n, 16): sums of fixed random word vectors, other ones for every layer; a model's stead."""
    sums = [np.sum([_word_vector(f"{layer} {word}") for word in t.split()], axis=0) for t in texts]
    return np.array(sums, np.float32)


@functools.cache
def _word_vector(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=HIDDEN)


class VectorModel(AbsEncoder):
    """A model that returns `text_vectors`, and remembers its calls."""

    def __init__(self, layer: int = 0, dtype: str = "float32") -> None:
        """dtype: that the vectors are rounded to; they are given in float32."""
        self.layer, self.dtype = layer, dtype
        self.calls: list[tuple[str, str, str, list[str]]] = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/vectors", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(
        self,
        inputs: Any,
        *,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> NDArray[np.float32]:
        texts = [text for batch in inputs for text in batch["text"]]
        kind = "" if prompt_type is None else prompt_type.value
        self.calls.append((hf_split, hf_subset, kind, texts))
        return text_vectors(texts, self.layer).astype(self.dtype).astype(np.float32)


@contextmanager
def mteb_warnings_ignored() -> Iterator[None]:
    """mteb warns of superseded tasks, scikit-learn of fits that mteb cuts short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def scores_of(model: AbsEncoder, task: AbsTask) -> dict[str, Any]:
    """All scores mteb gives: split -> list of entries, full precision."""
    with mteb_warnings_ignored():
        results = mteb.evaluate(
            model, task, cache=None, co2_tracker=False, encode_kwargs={"show_progress_bar": False}
        )
    scores: dict[str, Any] = results.task_results[0].scores
    return scores


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number and string of nested scores by its path; NaN as text, to compare equal."""
    if isinstance(value, dict):
        items = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: "nan" if value != value else value}
    return {name: leaf for key, item in items for name, leaf in leaves(item, key).items()}
