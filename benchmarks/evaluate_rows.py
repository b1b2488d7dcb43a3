"""Vectors as a language model's: computed from texts, so that no number of them fills the memory.

A text is `<topic> <number>`. Vectors have what makes evaluation of real states slow and delicate:
a mean far from zero, a few dimensions of much larger size, and topics that overlap.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray

MODEL = "benchmark/model"
_NOISES = 4096
_CENTRES = 1024
_OUTLIERS = {0.1: 300.0, 0.3: -120.0, 0.6: 60.0, 0.9: 25.0}
"""Where in the width dimensions of other sizes are, and how large they are in the mean."""


class Rows:
    """Gives each text its vector; no two texts have the same one."""

    def __init__(self, hidden: int, seed: int = 0, topic: float = 0.35) -> None:
        """topic: how far topics are apart, in standard deviations of the noise."""
        rng = np.random.default_rng(seed)
        self.hidden = hidden
        self._noise = rng.standard_normal((_NOISES, hidden), np.float32)
        self._centres = topic * rng.standard_normal((_CENTRES, hidden), np.float32)
        self._centres += rng.standard_normal(hidden, np.float32)
        for place, size in _OUTLIERS.items():
            column = int(place * hidden)
            self._noise[:, column] *= abs(size) / 20
            self._centres[:, column] = size

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(text, hidden) in float32."""
        topics, numbers = np.array([text.split() for text in texts], np.int64).reshape(-1, 2).T
        first = numbers % _NOISES
        out = self._noise[first]
        out += self._noise[(numbers // _NOISES + 7 * first + 1) % _NOISES]
        out += self._centres[topics % _CENTRES]
        return out


class RowsModel(AbsEncoder):
    """A model that gives a text's row, and knows how long that took."""

    def __init__(self, rows: Rows, dtype: str = "float32") -> None:
        """dtype: that rows are rounded to; they are given in float32."""
        self.rows, self.dtype = rows, dtype
        self.seconds = 0.0
        """CPU time of `encode` until now."""
        self.mteb_model_meta = meta()

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        began = time.process_time()
        vectors = self.round(self.rows(inputs.dataset["text"][:]))
        self.seconds += time.process_time() - began
        return vectors

    def round(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return vectors.astype(self.dtype, copy=False).astype(np.float32, copy=False)


class VectorsInMemory(AbsEncoder):
    """Answers mteb from a dictionary."""

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors
        self.mteb_model_meta = meta()

    def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
        return np.stack([self.vectors[text] for text in inputs.dataset["text"][:]])


def meta() -> ModelMeta:
    return ModelMeta.create_empty(
        {"name": MODEL, "revision": "main", "similarity_fn_name": ScoringFunction.COSINE}
    )
