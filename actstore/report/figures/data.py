"""What a figure shows of a store: the choice, and the numbers it selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step, look_up, parse_layers, ranges
from actstore.report.figures.style import COLUMN
from actstore.selection import select_checkpoints
from actstore.store import Store


@dataclass(frozen=True)
class Choice:
    """What of a store a figure shows, and how wide it is. Empty: all that there is."""

    models: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    """Names, globs, ranges, `last:50`, as everywhere."""
    layers: str = "all"
    """As everywhere: `0,3,6`, `15-23`, `-4:`."""
    suite: str | None = None
    """Whose tasks, and how their scores are made; None: all scored tasks."""
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Which of them is meant where a metric has values from several."""
    pooling: str | None = None
    """May be left out where there is only one; so may the transform."""
    transform: str | None = None
    baseline: str = ""
    """CHECKPOINT/LAYER that others are compared with; empty: the last layer of the last one."""
    depth: bool = False
    """Layers as per cent of the model's depth."""
    tsne: bool = False
    """t-SNE instead of principal components."""
    seed: int = 0
    """Draws texts and tokens where not all are shown."""
    width: float = COLUMN
    """Inches."""


class Data:
    """The numbers of a store that a choice selects. Each is read once, when it is first used."""

    def __init__(self, store: Store, choice: Choice) -> None:
        self.store, self.choice = store, choice

    @cached_property
    def score_rows(self) -> pd.DataFrame:
        """Rows of `Store.scores()`."""
        return self.store.scores()

    @cached_property
    def metric_rows(self) -> pd.DataFrame:
        """Rows of `Store.metric_table()`, with the columns task and origin.

        task: whose texts a value is over, or an empty string; origin: its source without that.
        """
        table = self.store.metric_table()
        parts = [_origin_and_task(source) for source in table["source"]]
        return table.assign(origin=[one for one, _ in parts], task=[task for _, task in parts])

    @cached_property
    def scores(self) -> xr.DataArray:
        """Scores as (model, checkpoint, layer, task), NaN where there is none.

        An aggregate stands for its parts. With the coordinates task_type and step. Raises
        UnknownNameError for what was not scored, InvalidInputError where pooling or transform
        must be said.
        """
        array = self.store.score_array(self.choice.suite)
        array = array.sel(pooling=self._only(array, "pooling", self.choice.pooling))
        array = array.sel(transform=self._only(array, "transform", self.choice.transform))
        array = _without_parts(array.drop_vars(["pooling", "transform"]))
        array = self._chosen(array)
        if self.choice.tasks:
            known = [str(name) for name in array["task"].values]
            names = [look_up("scored task", n, known, self._listing) for n in self.choice.tasks]
            array = array.sel(task=names)
        return array

    @cached_property
    def model_scores(self) -> xr.DataArray:
        """The scores of the one model: (checkpoint, layer, task), without empty rows."""
        return self.scores_of(self.one_model(self.scores_models))

    @property
    def scores_models(self) -> list[str]:
        """The chosen models that have scores."""
        return [str(name) for name in self.scores.dropna("model", how="all")["model"].values]

    def scores_of(self, model: str) -> xr.DataArray:
        """(checkpoint, layer, task) of a model, of checkpoints and layers with any score."""
        array = self.scores.sel(model=model)
        return array.dropna("checkpoint", how="all").dropna("layer", how="all")

    @property
    def states(self) -> str:
        """Of which states scores are, as captions say it: `mean pooling`."""
        array = self.store.score_array(self.choice.suite)
        pooling = self._only(array, "pooling", self.choice.pooling)
        transform = self._only(array, "transform", self.choice.transform)
        return f"{pooling} pooling" + (f", {transform}" if transform else "")

    def metric_names(self, wanted: Sequence[str], *, by_task: bool = False) -> list[str]:
        """The chosen metrics; else those of `wanted` that there are; else the first ones.

        by_task: of which there are values over the texts of single tasks.
        """
        rows = self.metric_rows
        rows = rows[(rows["task"] != "") == by_task]
        known = sorted({str(name) for name in rows["metric"]})
        if self.choice.metrics:
            return [look_up("metric", n, known, self._measure) for n in self.choice.metrics]
        return [name for name in wanted if name in known] or known[: max(len(wanted), 1)]

    def metric(self, name: str, *, by_task: bool = False) -> pd.DataFrame:
        """The chosen rows of one metric, of one origin.

        Raises InvalidInputError where the metric has values of several and none is chosen.
        """
        rows = self.metric_rows
        rows = rows[(rows["metric"] == name) & ((rows["task"] != "") == by_task)]
        if self.choice.pooling:
            pool = f"{self.choice.pooling}_pool"
            of_it = [pool in origin.split("/") for origin in rows["origin"]]
            rows = rows[of_it] if any(of_it) else rows
        origins = sorted({str(one) for one in rows["origin"]})
        chosen = [one for one in origins if one in self.choice.sources]
        if len(origins) > 1 and len(chosen) != 1:
            raise InvalidInputError(
                f"{self.store.url} has {name} from several sources: {', '.join(origins)}. "
                f"Say which: --source {origins[0]}"
            )
        rows = rows[rows["origin"] == (chosen or origins)[0]] if origins else rows
        return self._chosen_rows(rows)

    def metric_grid(self, name: str, model: str) -> pd.DataFrame:
        """Values of one metric of a model: a row a checkpoint in training order, a column a layer.

        NaN where there is none.
        """
        rows = self.metric(name)
        rows = rows[rows["model"] == model]
        table = rows.pivot_table(index="checkpoint", columns="layer", values="value", dropna=False)
        return table.reindex(by_training_step(map(str, table.index)))

    @property
    def metric_models(self) -> list[str]:
        """The chosen models that have metrics."""
        return sorted({str(name) for name in self._chosen_rows(self.metric_rows)["model"]})

    def one_model(self, known: Sequence[str]) -> str:
        """The only model of the chosen ones. Raises InvalidInputError where there are several."""
        if len(known) > 1:
            raise InvalidInputError(
                f"This figure is of one model; {self.store.url} has {', '.join(known)}. "
                "Say which: --model NAME"
            )
        if not known:
            raise InvalidInputError(f"{self.store.url} has none of what was chosen.")
        return known[0]

    def checkpoints(self, known: Iterable[str]) -> list[str]:
        """The chosen ones of some checkpoints, in training order. Raises UnknownNameError."""
        names = by_training_step({str(name) for name in known})
        if not self.choice.checkpoints:
            return names
        chosen = select_checkpoints(self.choice.checkpoints, lambda: names, stored=True)
        what = "checkpoint with such results"
        return [look_up(what, name, names, self._listing) for name in chosen]

    def layers(self, known: Sequence[int]) -> list[int]:
        """Those of some layers that were chosen. Raises UnknownNameError, InvalidInputError."""
        if self.choice.layers == "all" or not known:
            return list(known)
        wanted = parse_layers(self.choice.layers, max(known))
        found = [one for one in known if one in wanted]
        if not found:
            raise InvalidInputError(
                f"{self.store.url} has nothing of the layers {self.choice.layers}; there are: "
                f"{ranges(known)}."
            )
        return found

    def _chosen(self, array: xr.DataArray) -> xr.DataArray:
        known = [str(name) for name in array["model"].values]
        models = self._models(known)
        array = array.sel(model=models)
        array = array.sel(checkpoint=self.checkpoints(map(str, array["checkpoint"].values)))
        return array.sel(layer=self.layers(array["layer"].values.tolist()))

    def _chosen_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[rows["model"].isin(self._models(sorted({str(m) for m in rows["model"]})))]
        rows = rows[rows["checkpoint"].isin(self.checkpoints(rows["checkpoint"]))]
        return rows[rows["layer"].isin(self.layers(sorted({int(one) for one in rows["layer"]})))]

    def _models(self, known: Sequence[str]) -> list[str]:
        if not self.choice.models:
            return list(known)
        wanted = self.choice.models
        return [look_up("model with such results", name, known, self._listing) for name in wanted]

    def _only(self, array: xr.DataArray, what: str, wanted: str | None) -> str:
        known = [str(name) for name in array[what].values]
        if wanted is not None:
            return look_up(f"scored {what}", wanted, known, self._listing)
        if len(known) != 1:
            named = ", ".join(name or "none" for name in known)
            raise InvalidInputError(
                f"{self.store.url} has scores of several {what}s: {named}. Say which: "
                f"--{what} {known[0] or 'none'}"
            )
        return known[0]

    @property
    def _listing(self) -> str:
        return f"List: actstore scores {self.store.url}"

    @property
    def _measure(self) -> str:
        return f"Compute it: actstore metrics {self.store.url} --metric NAME"


def type_means(scores: xr.DataArray) -> xr.DataArray:
    """Mean scores by task type: NaN unless all of its tasks are scored."""
    return scores.groupby("task_type").mean(skipna=False)


def by_arm(array: xr.DataArray, across: str = "layer") -> pd.DataFrame:
    """An array as a table, a row a checkpoint and a column a layer, or whatever is said."""
    values = array.transpose("checkpoint", across)
    return pd.DataFrame(values.values, values["checkpoint"].values, values[across].values)


def layers_of(table: pd.DataFrame) -> list[int]:
    """The layers that are a table's columns."""
    return [int(str(layer)) for layer in table.columns]


def depth_of(layers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Layers as per cent of the deepest."""
    numbers = np.asarray(layers, float)
    return 100 * numbers / max(float(numbers.max()), 1)


def _origin_and_task(source: str) -> tuple[str, str]:
    """`mean_pool/STS12/against=last_layer` -> `mean_pool/against=last_layer`, `STS12`."""
    parts = source.split("/")
    skipped = {"tokens": 2, "views": 3}.get(parts[0], 1)
    tasks = [part for part in parts[skipped:] if "=" not in part]
    kept = [*parts[:skipped], *(part for part in parts[skipped:] if "=" in part)]
    return "/".join(kept), "/".join(tasks)


def _without_parts(array: xr.DataArray) -> xr.DataArray:
    """Parts of aggregates as one task each, whose score is their mean."""
    whole = array["part_of"].values.astype(str)
    if not whole.any():
        return array.drop_vars("part_of")
    names = np.where(whole != "", whole, array["task"].values.astype(str))
    types = dict(zip(names, array["task_type"].values, strict=True))
    array = array.drop_vars(["part_of", "task_type"]).assign_coords(task=names)
    found = array.groupby("task").mean(skipna=False).sel(task=list(dict.fromkeys(names)))
    return found.assign_coords(task_type=("task", [types[name] for name in found["task"].values]))
