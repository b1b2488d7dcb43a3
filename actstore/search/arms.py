"""Arms: the (checkpoint, layer) pairs a search chooses among, and what is known before scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.refs import by_training_step, training_step

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """All arms of a search, checkpoints in training order, layers ascending within each."""

    checkpoint: tuple[str, ...]
    """(arm,)."""
    layer: NDArray[np.int64]
    """(arm,)."""
    positions: Floats
    """(arm, 2): depth, and log(1 + step), each scaled to 0 .. 1."""
    metrics: Floats
    """(arm, metric), standardised over arms; of no columns where no metric is known of all."""
    metric_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.layer)

    def name(self, arm: int) -> str:
        return f"{self.checkpoint[arm]}, layer {self.layer[arm]}"

    def places(self) -> dict[tuple[str, int], int]:
        """The arm of each (checkpoint, layer)."""
        return {
            one: arm
            for arm, one in enumerate(zip(self.checkpoint, self.layer.tolist(), strict=True))
        }


def make_arms(
    checkpoints: Sequence[str], layers: Sequence[int], metrics: pd.DataFrame | None = None
) -> Arms:
    """Every checkpoint with every layer.

    metrics: columns checkpoint, layer, metric, value. A metric is used if every arm has a finite
    value of it and they are not all equal. A checkpoint whose name states no step (`main`) is taken
    to be at the last step there is.
    """
    ordered = by_training_step(checkpoints)
    steps = [training_step(name) for name in ordered]
    last = max((step for step in steps if step is not None), default=0)
    times = np.log1p([last if step is None else step for step in steps])
    depths = np.asarray(sorted(layers), np.float64)
    times = times / times.max() if times.max() > 0 else np.linspace(0, 1, len(times))
    depths = depths / depths.max() if depths.max() > 0 else depths
    pairs = pd.MultiIndex.from_product([ordered, sorted(layers)], names=["checkpoint", "layer"])
    table = _standardised(metrics, pairs)
    return Arms(
        checkpoint=tuple(pairs.get_level_values("checkpoint")),
        layer=pairs.get_level_values("layer").to_numpy(np.int64),
        positions=np.column_stack([np.tile(depths, len(ordered)), np.repeat(times, len(depths))]),
        metrics=table.to_numpy(np.float64),
        metric_names=tuple(map(str, table.columns)),
    )


def _standardised(metrics: pd.DataFrame | None, pairs: pd.MultiIndex) -> pd.DataFrame:
    if metrics is None or metrics.empty:
        return pd.DataFrame(index=pairs)
    wide = metrics.pivot_table(index=["checkpoint", "layer"], columns="metric", values="value")
    wide = wide.reindex(pairs).replace([np.inf, -np.inf], np.nan).dropna(axis="columns")
    spread = wide.std(ddof=0)
    varying = spread[spread > 1e-12 * wide.abs().max()].index
    return (wide[varying] - wide[varying].mean()) / spread[varying]
