"""Checkpoints and layers at once: heatmaps, the best layer, win rate, coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from actstore.errors import InvalidInputError
from actstore.refs import look_up
from actstore.report.figures.data import Data, by_arm, layers_of, type_means
from actstore.report.figures.needs import METRICS, SCORES
from actstore.report.figures.panels import (
    cells,
    few_y_ticks,
    headed,
    light_grid,
    name_checkpoints,
    one_panel,
    panels,
)
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS
from actstore.report.grids import shown_name


@kind(
    "heatmap",
    "The mean score of every checkpoint and layer, or the scores of some tasks.",
    SCORES,
)
def score_heatmap(data: Data) -> Figure:
    scores = data.model_scores
    if data.choice.tasks:
        parts = {name: scores.sel(task=name) for name in data.choice.tasks}
    else:
        whole = scores.mean("task", skipna=False)
        parts = {f"mean over {scores.sizes['task']} tasks": whole}
    return _heatmaps(data, {name: by_arm(one) for name, one in parts.items()}, "main score")


@kind(
    "heatmaps",
    "Mean scores of every checkpoint and layer, a panel a task type, each with its own colours.",
    SCORES,
)
def type_heatmaps(data: Data) -> Figure:
    means = type_means(data.model_scores)
    parts = {str(name): by_arm(means.sel(task_type=name)) for name in means["task_type"].values}
    return _heatmaps(data, parts, "mean main score")


@kind(
    "metric-heatmap",
    "Metrics of every checkpoint and layer.",
    METRICS,
)
def metric_heatmap(data: Data) -> Figure:
    names = data.metric_names(["effective_rank"])
    model = data.one_model(data.metric_models)
    parts = {name: data.metric_grid(name, model) for name in names}
    units = {name: data.metric(name)["unit"].iloc[0] for name in names}
    return _heatmaps(data, parts, units, colours="cividis")


@kind(
    "best-layer",
    "The best layer of every checkpoint, all layers within 0.005 of it, and its score.",
    SCORES,
)
def best_layer(data: Data) -> Figure:
    scores = data.model_scores
    table = by_arm(scores.mean("task", skipna=False)).dropna(how="all")
    if table.empty:
        _complain_incomplete(data, scores)
    figure = Figure((data.choice.width, min(data.choice.width, 4)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    places = np.arange(len(table))
    best = table.idxmax(axis=1).to_numpy(float)
    size = 3.5 if len(table) <= _MARKED else 0
    for place, (_, values) in zip(places, table.iterrows(), strict=True):
        near = values.index[values >= values.max() - _NEAR].to_numpy(float)
        above.plot(np.full(len(near), place), near, "_", color="#8a8a8a", markersize=6)
    above.plot(places, best, "o-", color=COLOURS[0], markersize=size)
    above.set(ylabel="best layer", ylim=(layers_of(table)[0] - 0.5, layers_of(table)[-1] + 0.5))
    tasks = f"mean over {scores.sizes['task']} tasks"
    headed(figure, f"{_model(data)}, {tasks}; dashes: layers within {_NEAR} of the best")
    below.plot(
        places, table.max(axis=1), "o-", color=COLOURS[0], label="best layer", markersize=size
    )
    last = table.iloc[:, -1]
    name = f"last layer ({table.columns[-1]})"
    below.plot(places, last, "s--", color=COLOURS[1], label=name, markersize=size)
    below.set(ylabel="mean score", xlabel="checkpoint")
    below.legend(loc="best")
    name_checkpoints(below, [str(name) for name in table.index], 0.8 * data.choice.width)
    for axes in (above, below):
        light_grid(axes)
        few_y_ticks(axes)
    return figure


_NEAR = 0.005
_MARKED = 40
"""Checkpoints up to which each has a marker."""


@kind(
    "win-rate",
    "The share of tasks on which each checkpoint and layer beats the baseline; ties count half.",
    SCORES,
)
def win_rate(data: Data) -> Figure:
    scores = data.model_scores
    checkpoint, layer = _baseline(data, scores)
    base = scores.sel(checkpoint=checkpoint, layer=layer)
    if base.isnull().any():
        raise InvalidInputError(
            f"The baseline {checkpoint}/{layer} has no score of "
            f"{', '.join(map(str, base['task'].values[base.isnull().values]))}. "
            "Say another: --baseline CHECKPOINT/LAYER"
        )
    wins = (scores > base) + 0.5 * (scores == base)
    rate = by_arm(wins.where(scores.notnull()).mean("task", skipna=False))
    figure, axes = one_panel(data.choice.width, _height(data.choice.width))
    image = cells(axes, rate, colours="cividis", norm=Normalize(0, 1))
    x, y = list(rate.index).index(checkpoint), layers_of(rate).index(layer)
    axes.plot(x, y, "s", markerfacecolor="none", markeredgecolor="white", markersize=6)
    axes.plot(x, y, "s", markerfacecolor="none", markeredgecolor="black", markersize=8)
    whole = rate.notna().all(axis=None) and min(rate.shape) > 1
    if whole:  # a contour through cells without a number would say what is not known
        places = np.arange(len(rate)), np.arange(len(rate.columns))
        axes.contour(*places, rate.to_numpy().T, levels=[0.5], colors="white", linewidths=1)
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=30)
    bar.set_label("share of tasks won")
    axes.set(xlabel="checkpoint", ylabel="layer")
    against = f"{scores.sizes['task']} tasks against {checkpoint}, layer {layer} (square)"
    headed(figure, f"{_model(data)}: {against}" + ("; line: half of them" if whole else ""))
    return figure


@kind(
    "coverage",
    "How many tasks are scored: of every checkpoint and layer, and of every checkpoint and task.",
    SCORES,
)
def coverage(data: Data) -> Figure:
    scored = data.model_scores.notnull()
    n_tasks, n_layers = scored.sizes["task"], scored.sizes["layer"]
    width = data.choice.width
    figure, (left, right) = panels(
        2, width, columns=1 if width < 5 else 2, ratio=0.8 if width < 5 else 0.9, share_x=False
    )
    image = cells(left, by_arm(scored.sum("task") / n_tasks), norm=Normalize(0, 1))
    left.set(title=f"of {n_tasks} tasks", xlabel="checkpoint", ylabel="layer")
    by_task = by_arm(scored.sum("layer"), "task") / n_layers
    cells(right, by_task.set_axis(range(n_tasks), axis=1), norm=Normalize(0, 1))
    names = [str(name) for name in scored["task"].values]
    shown = list(range(0, n_tasks, max(1, n_tasks // 16)))
    right.set_yticks(shown, [_cut(names[i]) for i in shown])
    right.set(title=f"of {n_layers} layers", xlabel="checkpoint")
    figure.colorbar(image, ax=[left, right], label="share scored", aspect=30, pad=0.02)
    return figure


def _heatmaps(
    data: Data,
    parts: dict[str, pd.DataFrame],
    label: str | dict[str, str],
    colours: str = "viridis",
) -> Figure:
    width, several = data.choice.width, len(parts) > 1
    is_score = isinstance(label, str)
    if several:
        figure, axes = panels(len(parts), width, share_y=True, ratio=0.9)
    else:
        figure, one = one_panel(width, _height(width))
        axes = [one]
    for one, (name, table) in zip(axes, parts.items(), strict=True):
        image = cells(one, table, colours=colours)
        unit = "" if several and isinstance(label, str) else label
        bar = figure.colorbar(image, ax=one, pad=0.02, aspect=20)
        bar.set_label(unit if isinstance(unit, str) else unit[name])
        bar.outline.set_visible(False)
        if is_score:
            _mark_best(one, table)
        if several:
            one.set_title(_cut(name, int(7 * width)))
    ring = "; ring: a checkpoint's best layer" if is_score else ""
    what = f", {label}" if isinstance(label, str) and several else ""
    headed(figure, f"{_model(data)}{what if several else ', ' + next(iter(parts))}{ring}")
    figure.supxlabel("checkpoint", fontsize=7.5)
    figure.supylabel("layer", fontsize=7.5)
    return figure


def _mark_best(axes: Axes, table: pd.DataFrame) -> None:
    """A ring at every checkpoint's best layer, the lowest of equal ones."""
    size = min(3.0, max(1.2, 100 / len(table)))
    found = [(i, v.to_numpy()) for i, (_, v) in enumerate(table.iterrows()) if v.notna().any()]
    for i, values in found:
        best = int(np.nanargmax(values))
        axes.plot(i, best, "o", mfc="white", mec="black", markersize=size, mew=size / 4)


def _baseline(data: Data, scores: xr.DataArray) -> tuple[str, int]:
    checkpoints = [str(name) for name in scores["checkpoint"].values]
    layers = [int(one) for one in scores["layer"].values]
    if not data.choice.baseline:
        return checkpoints[-1], layers[-1]
    checkpoint, _, layer = data.choice.baseline.rpartition("/")
    hint = "Write: --baseline CHECKPOINT/LAYER"
    look_up("scored checkpoint", checkpoint, checkpoints, hint)
    return checkpoint, int(look_up("scored layer", layer, [str(one) for one in layers], hint))


def _complain_incomplete(data: Data, scores: xr.DataArray) -> None:
    most = int(scores.notnull().sum("task").max())
    raise InvalidInputError(
        f"No checkpoint and layer of {data.store.url} has scores of all {scores.sizes['task']} "
        f"tasks: at most {most}. Choose tasks that were scored everywhere: --task NAME,NAME"
    )


def _height(width: float) -> float:
    return min(0.72 * width, 4.2)


def _model(data: Data) -> str:
    scored = data.scores_models if not data.score_rows.empty else data.metric_models
    return shown_name(data.one_model(scored))


def _cut(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
