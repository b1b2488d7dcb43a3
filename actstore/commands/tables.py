"""`actstore tables`: the tables of an analysis.

It reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names
from actstore.options import SUITE_HELP, ModelOption, StoreArgument


def tables(
    store: StoreArgument,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="Which table, or all; listed if left out.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write KIND.csv to; printed in part if left out.")
    ] = None,
    table_format: Annotated[
        str, typer.Option("--format", help="csv, parquet or markdown.")
    ] = "csv",
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    model: ModelOption = None,
    pooling: Annotated[str, typer.Option(help="Comma-separated; all if left out.")] = "",
    gaps: Annotated[
        str,
        typer.Option(
            help="Means of which a task is missing: nan, or slice: tables of the largest set of "
            "checkpoints, layers and tasks without gaps."
        ),
    ] = "nan",
    baseline: Annotated[
        str,
        typer.Option(help="Of win-rate: CHECKPOINT, CHECKPOINT:LAYER or :LAYER; the last of both."),
    ] = "",
    step: Annotated[
        list[str] | None,
        typer.Option(help="Of trend-slopes, where a name states none: main=143000. Repeatable."),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Of correlations: spearman, kendall, pearson, dcor; all.")
    ] = "",
    surrogates: Annotated[
        int, typer.Option(min=19, help="Of correlations: fields of red noise for each p value.")
    ] = 999,
    correction: Annotated[
        str,
        typer.Option(help="For many tests: bh, by, holm or none; bh for correlations, else holm."),
    ] = "",
    seed: Annotated[int, typer.Option(help="Draws the red noise.")] = 0,
) -> None:
    """Make the tables of an analysis: coverage, best layers, trends, win rates, correlations …"""
    from actstore.present.tables import show_kinds, show_table, show_written
    from actstore.report.analysis import TABLES, analysis_table
    from actstore.report.analysis_query import analysis_query
    from actstore.report.table_files import write_tables
    from actstore.store import open_store

    if not kind:
        show_kinds(TABLES)
        return
    query = analysis_query(
        suite=suite,
        model=model,
        poolings=names(pooling),
        gaps=gaps,
        baseline=baseline,
        steps_of=step or [],
        methods=names(methods),
        surrogates=surrogates,
        correction=correction,
        seed=seed,
    )
    opened = open_store(store)
    if out is None:
        show_table(analysis_table(opened, kind, query))
    else:
        show_written(write_tables(opened, kind, out, table_format, query))
