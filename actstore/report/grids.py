"""One number for every checkpoint and layer, or none; and what a model is called in a heading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """One number per (checkpoint, layer) of one model."""

    title: str
    """What is shown: a task, the mean over tasks, or a metric."""
    source: str
    """Of which states: `mean pooling`, `tokens/sample`."""
    model: str
    """As headings name it."""
    label: str
    """What the number is, with its unit: the colour bar's label."""
    kind: str
    """`score` or `metric`."""
    checkpoints: tuple[str, ...]
    """In training order."""
    layers: tuple[int, ...]
    """Ascending."""
    values: NDArray[np.float64]
    """(checkpoint, layer); NaN where there is none."""
    about: str
    """One sentence below the figure."""

    @property
    def n_missing(self) -> int:
        """How many cells have no number."""
        return int(np.isnan(self.values).sum())


def shown_name(model: str) -> str:
    """A model as a heading names it: a hub name as it is, a folder by its last component."""
    is_folder = model.startswith((".", "/", "~"))
    return model.rstrip("/").rpartition("/")[2] if is_folder else model
