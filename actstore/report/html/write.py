"""From a store to a report."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from actstore.report.html.facts import coverage, experiments, provenance, reproduction
from actstore.report.html.findings import Findings, read_findings
from actstore.report.html.page import Facts, page
from actstore.store import Store


def write_report(
    store: Store,
    out: Path,
    model: str | None = None,
    suites: Sequence[str] = (),
    tables: bool = False,
) -> list[Path]:
    """Write the report of one model's scores and metrics, or of all models', and say what where.

    out: the page's path (`report.html`), or a folder for it. suites: collected ones, or scored
    tasks separated by commas, whose means are shown; all collected ones if none is named. tables:
    also write scores.csv and metrics.csv into `<name>_files/`. Files of an earlier report are
    replaced. Raises UnknownNameError for a model or suite, and InvalidInputError if there is
    nothing to report.
    """
    findings = read_findings(store, model, suites)
    facts = Facts(
        coverage(findings, store),
        provenance(store, findings, datetime.datetime.now(datetime.UTC)),
        reproduction(store, findings),
        experiments(store),
    )
    path = out if out.suffix in (".html", ".htm") else out / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, page(findings, facts))
    return [path, *(_tables(store, findings, path) if tables else ())]


def _replace(path: Path, text: str) -> None:
    """Write a file that is whole, or the earlier one, at every moment."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _tables(store: Store, findings: Findings, path: Path) -> list[Path]:
    """All scores of splits and subsets, and all metrics, of the models on the page."""
    folder = path.with_name(f"{path.stem}_files")
    folder.mkdir(exist_ok=True)
    scores, models = store.scores(), {one.model for one in findings.states}
    shown = findings.metrics.drop(columns=["parameters", "values", "inputs"])
    written = {"scores": scores[scores["model"].isin(models)], "metrics": shown}
    for name, table in written.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return [folder / f"{name}.csv" for name in written]
