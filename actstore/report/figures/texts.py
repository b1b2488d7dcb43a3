"""Metrics of single texts: their histograms, text length, and the texts with extreme values."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.report.figures.data import Data
from actstore.report.figures.metrics import text_numbers
from actstore.report.figures.needs import TEXT_NUMBERS
from actstore.report.figures.panels import few_y_ticks, headed, light_grid, panels
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS, QUIET, category
from actstore.store import Store

_LAYERS = 6
_BINS = 30


@kind(
    "text-histograms",
    "How a metric of single texts, such as their entropy, is spread at some layers: the first and "
    "the last checkpoint.",
    TEXT_NUMBERS,
)
def text_histograms(data: Data) -> Figure:
    values = _numbers(data)
    checkpoints = [str(name) for name in values["checkpoint"].values]
    layers = _spread_out(values["layer"].values.tolist())
    figure, axes = panels(len(layers), data.choice.width, share_y=True, ratio=0.6)
    finite = values.values[np.isfinite(values.values)]
    bins = np.histogram_bin_edges(finite, _BINS).tolist()
    for one, layer in zip(axes, layers, strict=True):
        for i, name in enumerate(dict.fromkeys((checkpoints[0], checkpoints[-1]))):
            shown = values.sel(checkpoint=name, layer=layer).dropna("text").values
            style = category(i, marker=False)
            one.hist(shown, bins, histtype="stepfilled", alpha=0.2, color=COLOURS[i])
            one.hist(shown, bins, histtype="step", linewidth=1, label=name, **style)
        one.set_title(f"layer {layer}")
        few_y_ticks(one)
        one.locator_params(axis="x", nbins=4)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper left", ncols=2)
    figure.supxlabel(f"{values.name} ({values.attrs['unit']})", fontsize=7.5)
    figure.supylabel("texts", fontsize=7.5)
    return figure


@kind(
    "text-lengths",
    "A metric of single texts against their length, at some layers of the last checkpoint, with "
    "the median of texts of about the same length.",
    TEXT_NUMBERS,
)
def text_lengths(data: Data) -> Figure:
    values = _numbers(data).isel(checkpoint=-1)
    layers = _spread_out(values["layer"].values.tolist())
    lengths, unit = _lengths(data.store, data.one_model(data.metric_models), values["text"].values)
    figure, axes = panels(len(layers), data.choice.width, share_y=True)
    for one, layer in zip(axes, layers, strict=True):
        shown = values.sel(layer=layer).values
        one.scatter(lengths, shown, s=5, color=QUIET, linewidths=0, rasterized=len(shown) > 2000)
        middle = _medians(lengths, shown)
        one.plot(middle.index, middle, "o-", color=COLOURS[0], markersize=2.5)
        one.set_title(f"layer {layer}")
        if np.nanmax(lengths) > 20 * max(np.nanmin(lengths), 1):
            one.set_xscale("log")
        light_grid(one)
        few_y_ticks(one)
    figure.supxlabel(f"length of the text ({unit})", fontsize=7.5)
    figure.supylabel(f"{values.name} ({values.attrs['unit']})", fontsize=7.5)
    return figure


@kind(
    "extreme-texts",
    "The texts with the lowest and the highest value of a metric, at the last of the chosen "
    "checkpoints and layers.",
    TEXT_NUMBERS,
)
def extreme_texts(data: Data) -> Figure:
    values = _numbers(data).isel(checkpoint=-1, layer=-1)
    found = texts_by_value(data.store, values)
    n = min(6, (len(found) + 1) // 2)
    shown = pd.concat([found.head(n), found.iloc[max(n, len(found) - n) :]])
    figure = Figure((data.choice.width, 0.17 * len(shown) + 0.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(shown))[::-1].astype(float)
    places[:n] += 0.6
    axes.plot(shown["value"], places, "o", color=COLOURS[0])
    room = int(8 * data.choice.width)
    texts = [_one_line(text, room) for text in shown["text"]]
    axes.set_yticks(places, texts, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="both")
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel(f"{values.name} ({values.attrs['unit']})")
    where = f"{values['checkpoint'].item()}, layer {values['layer'].item()}"
    headed(figure, f"{where}: lowest and highest of {len(found)} texts")
    return figure


def texts_by_value(store: Store, values: xr.DataArray) -> pd.DataFrame:
    """Texts by a metric of theirs, lowest first: row, value, text.

    values: (text,), as `Store.metric_values` gives them at one checkpoint and layer; texts for
    which it is undefined are left out.
    """
    known = values.dropna("text").to_series().sort_values(kind="stable")
    rows = known.index.to_numpy(np.int64)
    return pd.DataFrame({"row": rows, "value": known.to_numpy(), "text": store.read_texts(rows)})


def _numbers(data: Data) -> xr.DataArray:
    rows = data.metric_rows
    known = {str(name) for name in rows[rows["values"] != ""]["metric"]}
    first = next(name for name in ("prompt_entropy", *sorted(known)) if name in known)
    values: xr.DataArray = text_numbers(data, (data.choice.metrics or (first,))[0])
    if not values.size or not np.isfinite(values.values).any():
        raise InvalidInputError(
            f"{data.store.url} has {values.name} of no text at the chosen checkpoints and layers."
        )
    return values


def _lengths(store: Store, model: str, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], str]:
    """The lengths of some texts: in tokens where the model was extracted, else in bytes."""
    if model in store.models():
        tokens = pd.Series(store.text_lengths(model)["n_tokens"], store.text_rows())
        found = tokens.reindex(rows).to_numpy(float)
        if np.nanmax(found) > 0:
            return np.where(found > 0, found, np.nan), "tokens"
    return store.texts().set_index("row")["n_bytes"].reindex(rows).to_numpy(float), "bytes"


def _medians(lengths: NDArray[np.float64], values: NDArray[np.float64]) -> pd.Series[float]:
    """The median value of about equally many texts each, by their median length."""
    table = pd.DataFrame({"length": lengths, "value": values}).dropna()
    groups = pd.qcut(table["length"], min(8, max(1, len(table) // 10)), duplicates="drop")
    found = table.groupby(groups, observed=True).median()
    return found.set_index("length")["value"]


def _spread_out(layers: list[int]) -> list[int]:
    """At most six of some layers, evenly, the first and the last among them."""
    places = np.linspace(0, len(layers) - 1, min(_LAYERS, len(layers)))
    return [int(layers[round(place)]) for place in places]


def _one_line(text: str, most: int) -> str:
    """The beginning of a text, in characters that every font has a shape for."""
    plain = " ".join(text.split()).encode("ascii", "replace").decode()
    return textwrap.shorten(plain, most, placeholder=" …") if len(plain) > most else plain
