"""A layer's states with labels, ready for scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.loaders.labelled import LabelledTexts, labelled_texts, task_texts
from actstore.store import Store


@dataclass(frozen=True, kw_only=True)
class Probe(LabelledTexts):
    """States of texts and their labels: `fit(p.X[p.train], p.y[p.train])`."""

    X: NDArray[np.float32]
    """(n, hidden): their pooled states at one layer."""


def load_probe(
    store: Store,
    texts: str | pd.DataFrame | LabelledTexts,
    *,
    model: str | None = None,
    checkpoint: str,
    layer: int,
    pooling: str = "mean",
) -> Probe:
    """States and labels of some texts at one layer, split so that nothing leaks.

    texts: a frozen classification task with one subset and split, a table with the columns `row` or
    `text`, `label` and perhaps `group`, or what `task_texts` or `labelled_texts` gave, which spares
    making it again for every layer. Raises as those do, and MissingShardsError.
    """
    found = _labelled(store, texts)
    unique, inverse = np.unique(found.rows, return_inverse=True)
    states = store.embeddings(
        model or store.only_model(),
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        rows=unique,
    )
    labelled: dict[str, Any] = {one.name: getattr(found, one.name) for one in fields(LabelledTexts)}
    return Probe(X=states[inverse], **labelled)


def _labelled(store: Store, texts: str | pd.DataFrame | LabelledTexts) -> LabelledTexts:
    if isinstance(texts, LabelledTexts):
        return texts
    return task_texts(store, texts) if isinstance(texts, str) else labelled_texts(store, texts)
