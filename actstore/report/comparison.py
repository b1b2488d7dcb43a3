"""Two tables of scores side by side, and what can be said of their differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from actstore.refs import look_up


@dataclass(frozen=True)
class Comparison:
    """Two tables of scores side by side."""

    model: str
    pooling: str
    transform: str
    cells: pd.DataFrame
    """Of each checkpoint and layer that both have, every task that either has: checkpoint, step,
    layer, task, task_type (empty for a task that is not ours), ours, theirs, difference (ours less
    theirs); NaN where one has no score."""

    def table(self, by: str) -> pd.DataFrame:
        """One of the tables below by its name: cell, layer, type, task, checkpoint.

        Raises UnknownNameError.
        """
        tables = {
            "cell": lambda: self.cells,
            "layer": self.by_layer,
            "type": self.by_type,
            "task": self.by_task,
            "checkpoint": self.by_checkpoint,
        }
        look_up("table of a comparison", by, [*tables], "Write for instance: --by layer")
        return tables[by]()

    def by_layer(self) -> pd.DataFrame:
        """Means over the tasks that both have, one row a checkpoint and layer.

        Columns: checkpoint, step, layer, ours, theirs, difference, largest (the difference that is
        farthest from 0), largest_task, n_common, n_ours, n_theirs. Rows with another n_common are
        means over other tasks.
        """
        table = _summary(self.cells, ["checkpoint", "layer"])
        steps = dict(zip(self.cells["checkpoint"], self.cells["step"], strict=True))
        table.insert(1, "step", table["checkpoint"].map(steps))
        return table

    def by_type(self) -> pd.DataFrame:
        """The same for each task type, over all checkpoints and layers."""
        return _summary(self.cells[self.cells["task_type"] != ""], ["task_type"])

    def by_task(self) -> pd.DataFrame:
        """The same for each task."""
        return _summary(self.cells, ["task"]).drop(columns="largest_task")

    def by_checkpoint(self) -> pd.DataFrame:
        """Whether both tell the same story of a checkpoint's layers.

        Columns: checkpoint, step, best_layer_ours, best_layer_theirs, rank_correlation (Spearman's,
        of the layers' means; NaN for fewer than two layers), n_layers, n_tasks. Only layers with
        the most common tasks count: means over others do not compare.
        """
        layers = self.by_layer()
        most = layers.groupby("checkpoint")["n_common"].transform("max")
        whole = layers[(layers["n_common"] == most) & (most > 0)]
        parts = whole.groupby(["checkpoint", "step"], sort=False, dropna=False)
        rows = [{"checkpoint": c, "step": step, **_story(part)} for (c, step), part in parts]
        return pd.DataFrame(rows)


def _summary(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over the cells that both have, and how many there are."""
    counts = cells.groupby(by, sort=False)[["ours", "theirs"]].count().add_prefix("n_")
    common = cells.dropna(subset=["ours", "theirs"])
    means = common.groupby(by, sort=False)[["ours", "theirs", "difference"]].mean()
    n_common = common.groupby(by, sort=False).size().rename("n_common")
    farthest = common.sort_values("difference", key=np.abs, ascending=False, kind="stable")
    largest = farthest.drop_duplicates(by).set_index(by, drop=False)[["difference", "task"]]
    largest.columns = ["largest", "largest_task"]
    table = counts.join([means, largest, n_common]).reset_index()
    table["n_common"] = table["n_common"].fillna(0).astype(int)
    found = ["ours", "theirs", "difference", "largest", "largest_task"]
    return table[[*by, *found, "n_common", "n_ours", "n_theirs"]]


def _story(layers: pd.DataFrame) -> dict[str, float]:
    """Of one checkpoint's layers: the best of either side, and how alike their orders are."""
    ours, theirs = layers["ours"].rank(), layers["theirs"].rank()
    varied = ours.nunique() > 1 and theirs.nunique() > 1
    return {
        "best_layer_ours": layers["layer"].iloc[int(layers["ours"].argmax())],
        "best_layer_theirs": layers["layer"].iloc[int(layers["theirs"].argmax())],
        "rank_correlation": ours.corr(theirs) if varied else np.nan,
        "n_layers": len(layers),
        "n_tasks": layers["n_common"].iloc[0],
    }
