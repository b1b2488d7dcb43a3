"""Metrics against scores: rank correlations, and the points behind them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actstore.errors import InvalidInputError
from actstore.report.correlation.coefficients import Method, coefficients
from actstore.report.figures.data import Data
from actstore.report.figures.metrics import FAMILIAR, titled
from actstore.report.figures.needs import METRICS, SCORES
from actstore.report.figures.panels import TrainingColours, few_y_ticks, headed, light_grid, panels
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS

_METHODS = {
    Method.SPEARMAN: "Spearman",
    Method.KENDALL: "Kendall",
    Method.PEARSON: "Pearson",
    Method.DISTANCE: "distance",
}


@kind(
    "correlations",
    "How strongly metrics go with the mean score: over the layers of each checkpoint, and over "
    "all checkpoints and layers.",
    SCORES,
    METRICS,
)
def correlations(data: Data) -> Figure:
    found = {name: metric_and_score(data, name) for name in data.metric_names(FAMILIAR)}
    names = list(found)
    height = 0.16 * len(names) * len(_METHODS) + 0.8
    figure = Figure((data.choice.width, height), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(names))[::-1]
    for i, (method, label) in enumerate(_METHODS.items()):
        at = places + 0.3 - 0.2 * i
        values = [_correlation(table, method) for table in found.values()]
        hatches = ("", "////", "....", "xxxx")
        bars = axes.barh(at, values, 0.19, color=COLOURS[i], label=label, linewidth=0)
        for bar in bars:
            bar.set(hatch=hatches[i], edgecolor="white")
        for place, table in zip(at, found.values(), strict=True):
            within = [_correlation(one, method) for _, one in table.groupby("checkpoint")]
            axes.plot(
                within, np.full(len(within), place), "|", color="black", markersize=4, mew=0.6
            )
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(places, names)
    axes.set(xlim=(-1.02, 1.02), xlabel="correlation with the mean score")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=2 if data.choice.width < 4 else 4)
    headed(figure, "bars: all checkpoints and layers; ticks: the layers of one checkpoint")
    return figure


@kind(
    "metric-score",
    "The mean score against metrics, a point a checkpoint and layer, with the line through them.",
    SCORES,
    METRICS,
)
def metric_score(data: Data) -> Figure:
    names = data.metric_names(FAMILIAR)
    found = [metric_and_score(data, name) for name in names]
    figure, axes = panels(len(names), data.choice.width, share_x=False, share_y=True)
    colours = TrainingColours(data.checkpoints({str(c) for one in found for c in one.checkpoint}))
    for one, name, table in zip(axes, names, found, strict=True):
        for checkpoint, part in table.groupby("checkpoint"):
            colour = colours.colour(str(checkpoint))
            one.scatter(part["value"], part["score"], s=7, color=[colour], linewidths=0)
        _trend(one, table)
        one.set_xlabel(titled(data, name))
        one.set_title(f"ρ = {_correlation(table, Method.SPEARMAN):.2f}, n = {len(table)}")
        one.locator_params(axis="x", nbins=4)
        light_grid(one)
        few_y_ticks(one)
    figure.supylabel("mean score", fontsize=7.5)
    colours.bar(figure, axes)
    return figure


def metric_and_score(data: Data, name: str) -> pd.DataFrame:
    """checkpoint, layer, value and score where both are known.

    The score is the mean over the chosen tasks, where all were scored. Raises InvalidInputError
    where nothing has both.
    """
    model = data.one_model(data.scores_models)
    score = data.scores_of(model).mean("task", skipna=False).to_series().rename("score")
    value = data.metric_grid(name, model).melt(ignore_index=False, value_name="value")
    both = value.reset_index().merge(score.reset_index(), on=["checkpoint", "layer"]).dropna()
    if len(both) < 3:
        raise InvalidInputError(
            f"{data.store.url} has {name} and scores of all chosen tasks together of {len(both)} "
            "checkpoints and layers; a correlation takes 3. Choose tasks that were scored: "
            "--task NAME,NAME"
        )
    return both


def _correlation(table: pd.DataFrame, method: Method) -> float:
    """NaN where one of both does not vary, or of fewer than three points."""
    if len(table) < 3:
        return float("nan")
    x, y = table[["value", "score"]].to_numpy(float).T
    return float(coefficients(method, x[None], y[None])[0, 0])


def _trend(axes: Axes, table: pd.DataFrame) -> None:
    """The least-squares line, where the metric varies."""
    x = table["value"].to_numpy(float)
    if np.ptp(x) == 0:
        return
    slope, at_zero = np.polyfit(x, table["score"].to_numpy(float), 1)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, at_zero + slope * ends, color="black", linewidth=1, linestyle="-")
