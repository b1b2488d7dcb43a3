"""The report's charts, as Vega-Lite specifications that the page's own inputs steer.

The charts have no data of their own: the page gives them its rows, one an arm, with the fields s
(number of the states), c (number of the checkpoint), k (its name), l (layer) and q0, q1, … (the
quantities). Parameters are bound to inputs of the page by their id, whose values are strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from actstore.report.html.findings import Findings

SELECTED = "#0072b2"
COMPARED = "#d55e00"
"""Okabe and Ito's blue and vermilion: told apart by all, legible on white and on near-black."""
_INK = "currentColor"
_MOST_CELLS_HIGH, _CELL = 520, 22
_FORMAT = ".4~g"


_Chart = alt.LayerChart | alt.FacetChart
"""What altair says of charts in layers; ours are never in facets."""


def charts(findings: Findings) -> dict[str, dict[str, Any]]:
    """Specifications by the id of the element that each is drawn in."""
    tallest = max(len(one.checkpoints) for one in findings.states)
    step = max(3, min(_CELL, _MOST_CELLS_HIGH // tallest))
    drawn = {"heatmap": _heatmap(tallest * step), "curves": _curves(), "scatter": _scatter()}
    return {name: _finished(chart, findings) for name, chart in drawn.items()}


def _heatmap(height: int) -> _Chart:
    """Cells, those without a number left open; a dot on each checkpoint's best layer."""
    base = _chosen("quantity").encode(
        x=alt.X("l:O", title="layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("c:O", title=None, axis=alt.Axis(labelExpr=_NAME_OF_CHECKPOINT, labelLimit=120)),
        tooltip=_tooltip(),
    )
    colour = alt.Color("value:Q", scale=alt.Scale(scheme="viridis"), legend=_gradient(None))
    cells = base.transform_filter("isValid(datum.value)").mark_rect().encode(color=colour)
    open_cells = base.transform_filter("!isValid(datum.value)").mark_rect(
        fill=_INK, fillOpacity=0.05, stroke=_INK, strokeOpacity=0.35, strokeDash=[2, 2]
    )
    row = (
        base.transform_filter("datum.c == toNumber(checkpoint)")
        .transform_aggregate(groupby=["c"])
        .mark_rect(fillOpacity=0, stroke=SELECTED, strokeWidth=3)
        .encode(x=alt.value(0), x2=alt.value("width"), tooltip=alt.Undefined)
    )
    best = (
        base.transform_filter("isValid(datum.value)")
        .transform_window(
            rank="row_number()",
            sort=[alt.SortField("value", order="descending"), alt.SortField("l")],
            groupby=["c"],
        )
        .transform_filter("datum.rank == 1")
        .mark_point(shape="circle", filled=True, fill="black", stroke="white", opacity=1, size=42)
    )
    return alt.layer(open_cells, cells, row, best).properties(
        title=_title("quantity"),
        width="container",
        height=height,
        description="Heatmap of the chosen quantity by checkpoint and layer; its numbers stand in "
        "the table below it.",
    )


def _curves() -> _Chart:
    """All checkpoints faintly, the one that is chosen and the one it is compared with on top."""
    base = (
        _chosen("quantity")
        .transform_filter("isValid(datum.value)")
        .encode(
            x=alt.X("l:Q", title="layer", axis=alt.Axis(tickMinStep=1, grid=False, format="d")),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            detail="c:O",
            tooltip=_tooltip(),
        )
    )
    others = base.mark_line(stroke=_INK, strokeOpacity=0.25, strokeWidth=1)
    layers = [others]
    for name, colour, dash in (("compared", COMPARED, [5, 3]), ("checkpoint", SELECTED, [1, 0])):
        line = base.transform_filter(f"datum.c == toNumber({name})")
        layers += [
            line.mark_line(stroke=colour, strokeWidth=2.5, strokeDash=dash),
            line.mark_point(filled=True, fill=colour, stroke=colour, size=30, opacity=1),
        ]
    return alt.layer(*layers).properties(
        title=_title("quantity"),
        width="container",
        height=280,
        description="The chosen quantity over layers, for the chosen checkpoint and the one it is "
        "compared with, in front of all others.",
    )


def _scatter() -> _Chart:
    """One quantity against another over arms, with Spearman's correlation of what is drawn."""
    base = (
        _chosen("across", "x")
        .transform_calculate(y="datum[up]")
        .transform_filter("isValid(datum.x) && isValid(datum.y)")
        .transform_filter("over == 'all' || datum.c == toNumber(checkpoint)")
    )
    points = base.mark_point(filled=True, size=50, opacity=1, stroke=_INK, strokeWidth=0.5).encode(
        x=alt.X(
            "x:Q",
            title=None,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=alt.ExprRef("ceil(width / 80)"), format=_FORMAT),
        ),
        y=alt.Y("y:Q", title=None, scale=alt.Scale(zero=False)),
        color=alt.Color(
            "c:Q",
            scale=alt.Scale(scheme="viridis"),
            legend=_ends("checkpoint"),
        ),
        tooltip=[
            alt.Tooltip("k:N", title="checkpoint"),
            alt.Tooltip("l:O", title="layer"),
            alt.Tooltip("x:Q", title="across", format=_FORMAT),
            alt.Tooltip("y:Q", title="up", format=_FORMAT),
        ],
    )
    said = _correlated(base).mark_text(
        align="right", baseline="bottom", fontSize=13, fontWeight="bold", fill=_INK
    )
    above = said.encode(x=alt.value("width"), y=alt.value(-6), text="said:N")
    # An axis' title cannot be an expression: this one is written below its axis.
    below = said.mark_text(align="center", baseline="top", fontSize=12, fill=_INK).encode(
        x=alt.value(alt.ExprRef("width / 2")),
        y=alt.value(alt.ExprRef("height + 28")),
        text=alt.value(alt.ExprRef("titles[across]")),
    )
    return alt.layer(points, above, below).properties(
        title=_title("up"),
        padding={"left": 5, "top": 5, "right": 5, "bottom": 24},
        width="container",
        height=320,
        description="One quantity against another, a point for every checkpoint and layer.",
    )


def _correlated(base: alt.Chart) -> alt.Chart:
    """Spearman's correlation as Pearson's of ranks, equal values sharing the mean of theirs."""
    return (
        base.transform_window(x_place="rank()", sort=[alt.SortField("x")])
        .transform_window(y_place="rank()", sort=[alt.SortField("y")])
        .transform_joinaggregate(x_ties="count()", groupby=["x"])
        .transform_joinaggregate(y_ties="count()", groupby=["y"])
        .transform_calculate(
            x_rank="datum.x_place + (datum.x_ties - 1) / 2",
            y_rank="datum.y_place + (datum.y_ties - 1) / 2",
        )
        .transform_joinaggregate(x_mean="mean(x_rank)", y_mean="mean(y_rank)")
        .transform_calculate(
            xy="(datum.x_rank - datum.x_mean) * (datum.y_rank - datum.y_mean)",
            xx="pow(datum.x_rank - datum.x_mean, 2)",
            yy="pow(datum.y_rank - datum.y_mean, 2)",
        )
        .transform_aggregate(sxy="sum(xy)", sxx="sum(xx)", syy="sum(yy)", n="count()")
        .transform_calculate(rho="datum.sxy / sqrt(datum.sxx * datum.syy)")
        .transform_calculate(said=_RHO)
    )


_RHO = (
    "(datum.n > 2 && isFinite(datum.rho) ? 'Spearman ' + format(datum.rho, '.3f')"
    " : 'no rank correlation') + ' (n = ' + datum.n + ')'"
)
_NAME_OF_CHECKPOINT = "checkpoints[toNumber(states)][datum.value]"
_FIRST_AND_LAST = "[0, length(checkpoints[toNumber(states)]) - 1]"


def _chosen(quantity: str, name: str = "value") -> alt.Chart:
    """The arms of the chosen states, with a quantity's number under a name."""
    return (
        alt.Chart(alt.NamedData("arms"))
        .transform_filter("datum.s == toNumber(states)")
        .transform_calculate(**{name: f"datum[{quantity}]"})
    )


def _title(quantity: str) -> alt.TitleParams:
    """Above the left end, where it stands for the title of the vertical axis too."""
    return alt.TitleParams(alt.ExprRef(f"titles[{quantity}]"), anchor="start", frame="bounds")


def _gradient(title: Any) -> alt.Legend:
    return alt.Legend(
        title=title, orient="top", gradientLength=180, gradientThickness=10, titleLimit=320
    )


def _ends(title: str) -> alt.Legend:
    """A gradient over checkpoints that names the first and the last."""
    legend = _gradient(title)
    legend["offset"] = 24  # the correlation stands below it
    legend["labelExpr"], legend["values"] = _NAME_OF_CHECKPOINT, alt.ExprRef(_FIRST_AND_LAST)
    return legend


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("k:N", title="checkpoint"),
        alt.Tooltip("l:O", title="layer"),
        alt.Tooltip("value:Q", title="value", format=_FORMAT),
    ]


def _finished(chart: _Chart, findings: Findings) -> dict[str, Any]:
    """The specification, with its parameters and a look that follows the page's colours."""
    inputs = ("states", "quantity", "checkpoint", "compared", "across", "up", "over")
    specification: dict[str, Any] = chart.to_dict()
    text = str(specification)
    known: Mapping[str, Sequence[Any] | Mapping[str, str]] = {
        "checkpoints": [one.checkpoints for one in findings.states],
        "titles": {f"q{i}": _axis_title(q.name, q.unit) for i, q in enumerate(findings.quantities)},
    }
    specification["params"] = [
        *({"name": name, "bind": {"element": f"#{name}"}} for name in inputs if name in text),
        *({"name": name, "value": value} for name, value in known.items() if name in text),
    ]
    return {**specification, "config": _LOOK}


def _axis_title(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


_QUIET = {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 11, "titleFontSize": 12}
_LOOK: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "mark": {"aria": False},  # screen readers get the table, not hundreds of unnamed marks
    "axis": {
        **_QUIET,
        "titleFontWeight": "normal",
        "domainColor": _INK,
        "domainOpacity": 0.4,
        "tickColor": _INK,
        "tickOpacity": 0.4,
        "gridColor": _INK,
        "gridOpacity": 0.12,
        "labelOverlap": "greedy",
        "labelSeparation": 5,
    },
    "legend": {**_QUIET, "titleFontWeight": "normal"},
    "title": {"color": _INK, "fontSize": 13, "fontWeight": "normal"},
}
