"""The page: one file with data, charts and the library that draws them; nothing of it is fetched.

What a store says is untrusted. Its names stand on the page as escaped text and in the data as JSON
in which no tag can close; the page's policy lets run the scripts of this package, by their digests,
and nothing else, and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import altair
import jinja2
import numpy as np
import vl_convert

from actstore import __version__
from actstore.report.grids import shown_name
from actstore.report.html.charts import charts
from actstore.report.html.facts import Table, states_label
from actstore.report.html.findings import METRIC, Findings, Quantity

_DIGITS = 7
"""Significant ones, of the numbers on the page: four are shown, also of small differences."""


@dataclass(frozen=True)
class Facts:
    """What stands on the page besides charts."""

    coverage: Sequence[Table]
    provenance: Sequence[Table]
    commands: Sequence[str]
    experiments: Sequence[tuple[str, str]]


def page(findings: Findings, facts: Facts) -> str:
    """The page as HTML."""
    scripts = [library(), _own("page.js")]
    keys = [f"q{i}" for i in range(len(findings.quantities))]
    return _template().render(
        title=_title(findings),
        version=__version__,
        policy=_policy(scripts),
        style=_own("style.css"),
        states=[f"{shown_name(one.model)}: {states_label(one)}" for one in findings.states],
        last=len(findings.states[0].checkpoints) - 1,
        quantities=_listed(keys, findings.quantities),
        chosen=_chosen(findings),
        averages=_averages(findings),
        coverage=facts.coverage,
        provenance=facts.provenance,
        citations=_citations(findings),
        commands="\n".join(facts.commands),
        experiments=facts.experiments,
        numbers=_json(_numbers(keys, findings)),
        charts=_json(charts(findings)),
        scripts=scripts,
    )


def _title(findings: Findings) -> str:
    names = dict.fromkeys(shown_name(one.model) for one in findings.states)
    return f"{', '.join(names)}: representations by checkpoint and layer"


def _averages(findings: Findings) -> str:
    if not findings.suites:
        return "there are none in this store."
    return "a mean is over all tasks of its suite, and there is none while one of them is missing."


def _listed(
    keys: Sequence[str], quantities: Sequence[Quantity]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, (key, name) pairs), as lists show them."""
    pairs = zip(keys, quantities, strict=True)
    groups = itertools.groupby(pairs, key=lambda pair: pair[1].heading)
    return [(heading, [(key, one.name) for key, one in group]) for heading, group in groups]


def _chosen(findings: Findings) -> dict[str, str]:
    """What is drawn first: the first quantity, against the metric of which there is most."""
    last = len(findings.quantities) - 1
    metrics = [i for i, one in enumerate(findings.quantities) if one.heading == METRIC]
    across = max(metrics, key=lambda i: findings.numbers[i].count(), default=last)
    return {"quantity": "q0", "across": f"q{across}", "up": "q0"}


def _numbers(keys: Sequence[str], findings: Findings) -> dict[str, Any]:
    """The data, a list a column, in the order of the arms."""
    table, states = findings.numbers, findings.states
    sizes = [len(one.checkpoints) * len(one.layers) for one in states]
    owners = np.repeat(np.arange(len(states)), sizes)
    places = [np.repeat(np.arange(len(o.checkpoints)), len(o.layers)) for o in states]
    columns = {key: table[i].to_numpy() for i, key in enumerate(keys)}
    return {
        "states": [
            {
                "checkpoints": one.checkpoints,
                "layers": one.layers,
                "quantities": [k for k in keys if np.isfinite(columns[k][owners == i]).any()],
            }
            for i, one in enumerate(states)
        ],
        "about": {key: one.about for key, one in zip(keys, findings.quantities, strict=True)},
        "arms": {
            "s": owners.tolist(),
            "c": np.concatenate(places).tolist(),
            "l": table["layer"].tolist(),
        },
        "columns": {key: [_rounded(value) for value in column] for key, column in columns.items()},
    }


def _rounded(value: float) -> float | int | None:
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _json(value: Mapping[str, Any]) -> str:
    """JSON to stand in a script element: without any `<`, no tag and no comment ends or begins."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do with the page: run these scripts, style, and draw."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, of the version that the charts are made for."""
    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise RuntimeError("The bundle of Vega cannot stand in a page: it holds a tag's end.")
    return bundle


def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_own("page.html.j2"))


def _citations(findings: Findings) -> list[str]:
    models = ", ".join(dict.fromkeys(shown_name(one.model) for one in findings.states))
    lines = [
        f"actstore {__version__}, which extracted, scored and measured the layers.",
        f"The authors of the models: {models}.",
    ]
    if findings.suites:
        lines.append(
            "Muennighoff et al. 2023, MTEB: Massive Text Embedding Benchmark, "
            "https://arxiv.org/abs/2210.07316, and the authors of the tasks’ datasets."
        )
    if len(findings.metrics):
        lines.append(
            "The sources of the metrics: each is named below the inputs when it is chosen."
        )
    return lines
