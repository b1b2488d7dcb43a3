"""A metric in its variants side by side: normalisations of entropies, definitions of curvature."""

from __future__ import annotations

from matplotlib.figure import Figure

from actstore.report.figures.data import Data
from actstore.report.figures.metrics import titled
from actstore.report.figures.needs import metrics_like
from actstore.report.figures.panels import TrainingColours, curves, panels, x_label
from actstore.report.figures.registry import kind

_SCALED = ("", "_maxentropy", "_logn", "_logd", "_lognlogd")


@kind(
    "prompt-entropy-variants",
    "Prompt entropy as it is and in its four normalisations.",
    metrics_like("prompt entropy", "prompt_entropy"),
)
def prompt_entropy_variants(data: Data) -> Figure:
    return _variants(data, [f"prompt_entropy{end}" for end in (*_SCALED, "_clamped")])


@kind(
    "dataset-entropy-variants",
    "Dataset entropy as it is and in its four normalisations.",
    metrics_like("dataset entropy", "dataset_entropy"),
)
def dataset_entropy_variants(data: Data) -> Figure:
    return _variants(data, [f"dataset_entropy{end}" for end in _SCALED])


@kind(
    "curvature-variants",
    "The angle between steps, between their directions, and between neighbouring tokens.",
    metrics_like("curvature", "curvature"),
)
def curvature_variants(data: Data) -> Figure:
    return _variants(data, ["curvature", "curvature_abs", "curvature_adjacent"])


def _variants(data: Data, wanted: list[str]) -> Figure:
    """A panel a variant that there is, each with its own range."""
    known = {str(name) for name in data.metric_rows["metric"]}
    names = [name for name in wanted if name in known]
    model = data.one_model(data.metric_models)
    tables = [data.metric_grid(name, model) for name in names]
    figure, axes = panels(len(names), data.choice.width)
    colours = TrainingColours(data.checkpoints({str(c) for table in tables for c in table.index}))
    for one, name, table in zip(axes, names, tables, strict=True):
        curves(one, table, colours, depth=data.choice.depth)
        one.set_title(titled(data, name))
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    colours.bar(figure, axes)
    return figure
