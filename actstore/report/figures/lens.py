"""What the logit lens says of every layer."""

from __future__ import annotations

from matplotlib.figure import Figure

from actstore.report.figures.data import Data
from actstore.report.figures.metrics import titled
from actstore.report.figures.needs import metrics_like
from actstore.report.figures.panels import TrainingColours, curves, log_if_wide, panels, x_label
from actstore.report.figures.registry import kind

_SHOWN = [
    "lens_entropy",
    "lens_kl_layer_to_final",
    "lens_cross_entropy",
    "lens_gold_rank",
    "lens_gold_top1",
    "lens_top1_is_final",
]
_LOG = ("lens_gold_rank", "lens_residual_norm")


@kind(
    "lens",
    "What each layer predicts through the lens: entropy, divergence from the final prediction, "
    "rank of the next token.",
    metrics_like("metrics of the lens", "lens_", names=",".join(_SHOWN[:2])),
)
def lens(data: Data) -> Figure:
    known = {str(name) for name in data.metric_rows["metric"]}
    names = [name for name in _SHOWN if name in known]
    names = list(data.choice.metrics) or names or sorted(n for n in known if n.startswith("lens_"))
    names = data.metric_names(names)
    model = data.one_model(data.metric_models)
    tables = [data.metric_grid(name, model) for name in names]
    figure, axes = panels(len(names), data.choice.width)
    colours = TrainingColours(data.checkpoints({str(c) for table in tables for c in table.index}))
    for one, name, table in zip(axes, names, tables, strict=True):
        curves(one, table, colours, depth=data.choice.depth)
        if name in _LOG:
            log_if_wide(one, table.to_numpy(float))
        one.set_title(titled(data, name).removeprefix("lens_"))
    figure.supxlabel(x_label(data.choice.depth), fontsize=7.5)
    colours.bar(figure, axes)
    return figure
