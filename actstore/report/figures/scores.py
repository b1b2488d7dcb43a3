"""Scores over layers: by task type, across models, with training; and what they cost."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actstore.report.figures.data import Data, by_arm, type_means
from actstore.report.figures.needs import SCORES
from actstore.report.figures.panels import (
    TrainingColours,
    curves,
    few_y_ticks,
    headed,
    layer_ticks,
    light_grid,
    log_if_wide,
    one_panel,
    panels,
    x_label,
    x_of,
)
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS, QUIET, category
from actstore.report.grids import shown_name


@kind(
    "score-layers",
    "Scores against the layer, a panel a task type: its tasks thin, their mean bold.",
    SCORES,
)
def score_layers(data: Data) -> Figure:
    scores = data.model_scores
    checkpoint = str(scores["checkpoint"].values[-1])
    at_last = scores.sel(checkpoint=checkpoint)
    means = type_means(at_last)
    types = [str(name) for name in means["task_type"].values]
    figure, axes = panels(len(types), data.choice.width)
    for one, name in zip(axes, types, strict=True):
        tasks = at_last.isel(task=np.flatnonzero(at_last["task_type"].values == name))
        _tasks_and_mean(one, tasks, means.sel(task_type=name), data.choice.depth)
        one.set_title(f"{name} ({tasks.sizes['task']})")
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    figure.supylabel("main score", fontsize=7.5)
    headed(figure, _heading(data, checkpoint))
    return figure


def _tasks_and_mean(axes: Axes, tasks: xr.DataArray, mean: xr.DataArray, depth: bool) -> None:
    places = x_of(tasks["layer"].values.tolist(), depth)
    for values in tasks.transpose("task", "layer").values:
        axes.plot(places, values, color=QUIET, linewidth=0.6, linestyle="-")
    axes.plot(places, mean.values, color=COLOURS[0], linewidth=1.8, linestyle="-")
    if mean.notnull().any():
        best = int(mean.argmax("layer"))
        axes.plot(places[best], mean.values[best], "o", color=COLOURS[0], markersize=4)
    light_grid(axes)
    layer_ticks(axes)
    few_y_ticks(axes)


@kind(
    "score-models",
    "Mean scores of several models against depth, a panel a task type.",
    SCORES,
)
def score_models(data: Data) -> Figure:
    models = data.scores_models
    scored = {model: data.scores_of(model) for model in models}
    types = sorted({str(t) for one in scored.values() for t in one["task_type"].values})
    figure, axes = panels(len(types), data.choice.width, head=0.12 * (1 + len(models) // 2))
    for i, (model, scores) in enumerate(scored.items()):
        last = scores.isel(checkpoint=-1)
        means = type_means(last)
        places = x_of(last["layer"].values.tolist(), depth=True)
        style = category(i)
        label = f"{shown_name(model)}, {last['checkpoint'].item()}"
        for one, name in zip(axes, types, strict=True):
            one.plot(
                places, means.sel(task_type=name), **style, markersize=2, linewidth=1, label=label
            )
    for one, name in zip(axes, types, strict=True):
        one.set_title(name)
        light_grid(one)
        few_y_ticks(one)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=1)
    figure.supxlabel("depth (%)", fontsize=7.5)
    figure.supylabel("mean main score", fontsize=7.5)
    return figure


@kind(
    "score-training",
    "The mean score, or a task's, against the layer, coloured by training step.",
    SCORES,
)
def score_training(data: Data) -> Figure:
    scores = data.model_scores
    names = [str(name) for name in scores["task"].values] if data.choice.tasks else []
    figure, axes = panels(len(names) or 1, data.choice.width)
    colours = TrainingColours([str(name) for name in scores["checkpoint"].values])
    for one, name in zip(axes, names or [""], strict=True):
        shown = scores.sel(task=name) if name else scores.mean("task", skipna=False)
        table = by_arm(shown)
        curves(one, table, colours, depth=data.choice.depth)
        one.set_title(name or f"mean over {scores.sizes['task']} tasks", loc="left")
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    figure.supylabel("main score", fontsize=7.5)
    colours.bar(figure, axes)
    return figure


@kind(
    "evaluation-seconds",
    "Seconds that evaluation took at each layer: task types, and all tasks together.",
    SCORES,
)
def evaluation_seconds(data: Data) -> Figure:
    scores = data.model_scores
    model = data.one_model(data.scores_models)
    rows = data.score_rows
    chosen = rows["model"].eq(model) & rows["checkpoint"].isin(scores["checkpoint"].values)
    chosen &= rows["layer"].isin(scores["layer"].values)
    for what, wanted in (("pooling", data.choice.pooling), ("transform", data.choice.transform)):
        chosen &= rows[what].eq(wanted) if wanted is not None else True
    if data.choice.tasks:
        chosen &= rows["task"].isin(data.choice.tasks)
    by = rows[chosen].groupby(["checkpoint", "layer", "task_type"])["evaluation_seconds"].sum()
    typical = by.groupby(["layer", "task_type"]).median().unstack("task_type")
    total = by.groupby(["checkpoint", "layer"]).sum().groupby("layer")
    figure, axes = one_panel(data.choice.width)
    for i, name in enumerate(typical):
        axes.plot(
            x_of(list(typical.index), data.choice.depth),
            typical[name],
            **category(i),
            markersize=2,
            linewidth=0.9,
            label=str(name),
        )
    places = x_of(list(total.median().index), data.choice.depth)
    axes.plot(places, total.median(), color="black", linewidth=1.8, linestyle="-", label="all")
    axes.fill_between(places, total.quantile(0.25), total.quantile(0.75), color="black", alpha=0.15)
    axes.set(xlabel=x_label(data.choice.depth), ylabel="evaluation seconds")
    log_if_wide(axes, by.to_numpy(float))
    light_grid(axes)
    layer_ticks(axes)
    figure.legend(loc="outside upper left", ncols=max(1, int(data.choice.width / 1.1)))
    return figure


def _heading(data: Data, checkpoint: str) -> str:
    model = shown_name(data.one_model(data.scores_models))
    return f"{model}, {checkpoint}, {data.states}"
