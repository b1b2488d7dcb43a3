"""Metrics over layers: with training, across models, by task type, over texts; and two of them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actstore.report.figures.data import Data, layers_of
from actstore.report.figures.needs import METRICS, TASK_METRICS, TEXT_NUMBERS, TWO_METRICS
from actstore.report.figures.panels import (
    TrainingColours,
    curves,
    few_y_ticks,
    headed,
    layer_ticks,
    light_grid,
    named,
    panels,
    x_label,
    x_of,
)
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS, QUIET, category
from actstore.report.grids import shown_name

FAMILIAR = ["prompt_entropy", "curvature", "dataset_entropy", "effective_rank", "dime", "infonce"]
"""Shown where no metric is chosen, as far as there are values of them."""


@kind(
    "metric-training",
    "Metrics against the layer, a line a checkpoint, coloured by training step.",
    METRICS,
)
def metric_training(data: Data) -> Figure:
    names = data.metric_names(FAMILIAR)
    model = data.one_model(data.metric_models)
    figure, axes = panels(len(names), data.choice.width)
    tables = [data.metric_grid(name, model) for name in names]
    colours = TrainingColours(data.checkpoints({str(c) for table in tables for c in table.index}))
    for one, name, table in zip(axes, names, tables, strict=True):
        curves(one, table, colours, depth=data.choice.depth)
        one.set_title(titled(data, name))
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    colours.bar(figure, axes)
    return figure


@kind(
    "metric-models",
    "Metrics of several models against the layer or, with --depth, the depth.",
    METRICS,
)
def metric_models(data: Data) -> Figure:
    names = data.metric_names(FAMILIAR)
    models = data.metric_models
    figure, axes = panels(len(names), data.choice.width, head=0.12 * len(models))
    for i, model in enumerate(models):
        style = category(i)
        tables = {name: data.metric_grid(name, model) for name in names}
        last = _last_measured(data, tables.values())
        for one, table in zip(axes, tables.values(), strict=True):
            if last not in table.index:
                continue
            places = x_of(layers_of(table), data.choice.depth)
            one.plot(places, table.loc[last], **style, markersize=2, linewidth=1)
        axes[0].plot([], [], **style, label=f"{shown_name(model)}, {last}")
    for one, name in zip(axes, names, strict=True):
        one.set_title(titled(data, name))
        light_grid(one)
        layer_ticks(one)
        few_y_ticks(one)
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=1)
    return figure


def _last_measured(data: Data, tables: Iterable[pd.DataFrame]) -> str:
    """The last checkpoint that has as many of the metrics as any has."""
    known = [str(name) for table in tables for name in table.dropna(how="all").index]
    counted = {name: known.count(name) for name in data.checkpoints(known)}
    return [name for name, n in counted.items() if n == max(counted.values())][-1]


@kind(
    "metric-types",
    "Metrics over the texts of single tasks, a panel a metric and task type: tasks thin, their "
    "mean bold, one standard deviation shaded.",
    TASK_METRICS,
)
def metric_types(data: Data) -> Figure:
    names = data.metric_names(FAMILIAR, by_task=True)
    found = {name: _by_task(data, name) for name in names}
    types = sorted({str(one) for table in found.values() for one in table["task_type"]})
    shown = [(name, task_type) for name in names for task_type in types]
    figure, axes = panels(len(shown), data.choice.width)
    for one, (name, task_type) in zip(axes, shown, strict=True):
        rows = found[name][found[name]["task_type"] == task_type]
        table = rows.pivot_table(index="layer", columns="task", values="value")
        _spread(one, table.mean(axis=1), table.std(axis=1), data.choice.depth)
        one.plot(x_of(list(table.index), data.choice.depth), table, "-", color=QUIET, linewidth=0.6)
        one.set_title(f"{task_type} ({len(table.columns)})\n{name}")
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    units = ", ".join(dict.fromkeys(str(table["unit"].iloc[0]) for table in found.values()))
    figure.supylabel(units, fontsize=7.5)
    return figure


def _by_task(data: Data, name: str) -> pd.DataFrame:
    """Of the last chosen checkpoint of one model: layer, task, task_type, value."""
    rows = data.metric(name, by_task=True)
    rows = rows[rows["model"] == data.one_model(sorted({str(m) for m in rows["model"]}))]
    rows = rows[rows["checkpoint"] == data.checkpoints(rows["checkpoint"])[-1]]
    scored = dict(zip(data.score_rows["task"], data.score_rows["task_type"], strict=True))
    collected = data.store.tasks()
    types = {
        task: scored.get(task)
        or (str(data.store.task(task).manifest["type"]) if task in collected else "other")
        for task in rows["task"].unique()
    }
    return rows.assign(task_type=rows["task"].map(types))


@kind(
    "metric-spread",
    "The mean over texts of metrics of single texts, and one standard deviation, by layer.",
    TEXT_NUMBERS,
)
def metric_spread(data: Data) -> Figure:
    wanted = data.choice.metrics or tuple(_of_texts(data))
    figure, axes = panels(len(wanted), data.choice.width)
    for one, name in zip(axes, wanted, strict=True):
        values = text_numbers(data, name)
        at = values.isel(checkpoint=-1)
        mean, spread = at.mean("text").to_series(), at.std("text", ddof=1).to_series()
        _spread(one, mean, spread, data.choice.depth)
        one.set_title(named(name, at.attrs["unit"]))
    checkpoint = at["checkpoint"].item()
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    headed(figure, f"{checkpoint}: mean over {at.sizes['text']} texts ± 1 s.d.")
    return figure


def _of_texts(data: Data) -> list[str]:
    rows = data.metric_rows
    known = {str(name) for name in rows[rows["values"] != ""]["metric"]}
    return [name for name in ("prompt_entropy", "curvature") if name in known] or sorted(known)[:1]


@kind(
    "metric-plane",
    "One metric against another, a path over the layers: two of the chosen metrics, such as the "
    "axes of an information plane.",
    TWO_METRICS,
)
def metric_plane(data: Data) -> Figure:
    x, y = (*data.metric_names(["prompt_entropy", "dataset_entropy"]), *_others(data))[:2]
    model = data.one_model(data.metric_models)
    tables = data.metric_grid(x, model), data.metric_grid(y, model)
    figure, (axes,) = panels(1, data.choice.width)
    names = [str(name) for name in tables[0].index if name in tables[1].index]
    colours = TrainingColours(names)
    for name in names:
        both = pd.DataFrame({"x": tables[0].loc[name], "y": tables[1].loc[name]}).dropna()
        axes.plot(both["x"], both["y"], **{**colours.line(name), "marker": ".", "markersize": 3})
        if name == names[-1]:
            for layer in {*both.index[:1], *both.index[-1:]}:
                place = both.loc[layer].to_list()
                axes.annotate(f"layer {layer}", place, (4, 3), textcoords="offset points")
    axes.set(xlabel=titled(data, x, lines=False), ylabel=titled(data, y, lines=False))
    light_grid(axes)
    colours.bar(figure, [axes])
    return figure


def _others(data: Data) -> list[str]:
    names = sorted({str(name) for name in data.metric_rows["metric"]})
    return [name for name in names if name not in data.metric_names(["prompt_entropy"])]


def text_numbers(data: Data, name: str) -> xr.DataArray:
    """A metric of single texts, of the one model: (checkpoint, layer, text), of what is chosen."""
    model = data.one_model(data.metric_models)
    source = data.metric(name)["source"].iloc[0]
    array = data.store.metric_values(model, name, str(source))
    array = array.sel(checkpoint=data.checkpoints(map(str, array["checkpoint"].values)))
    return array.sel(layer=data.layers(array["layer"].values.tolist()))


def titled(data: Data, name: str, *, by_task: bool = False, lines: bool = True) -> str:
    """A metric with its unit."""
    unit = str(data.metric(name, by_task=by_task)["unit"].iloc[0])
    two = named(name, unit)
    return two if lines else two.replace("_\n", "_").replace("\n", " ").strip()


def _spread(axes: Axes, mean: pd.Series[float], spread: pd.Series[float], depth: bool) -> None:
    places = x_of(list(mean.index), depth)
    axes.fill_between(
        places, mean - spread, mean + spread, color=COLOURS[0], alpha=0.2, linewidth=0
    )
    axes.plot(places, mean, color=COLOURS[0], linewidth=1.8, linestyle="-")
    light_grid(axes)
    layer_ticks(axes)
    few_y_ticks(axes)
