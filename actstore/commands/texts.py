"""Commands that bring texts and tasks into a store.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import add_texts, collect_suite, store_for, texts_of
from actstore.options import SUITE_HELP, JsonOption, StoreArgument


def collect(
    store: StoreArgument,
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="A file of texts: .txt (one a line), .jsonl, .csv or .parquet."),
    ] = None,
    column: Annotated[str, typer.Option(help="Field of --texts that holds the text.")] = "text",
) -> None:
    """Put the texts of a suite, or of a file, into the store, so that GPU nodes need no mteb."""
    from actstore.present import lines

    if suite is None and texts is None:
        raise typer.BadParameter("give --suite or --texts")
    found = None if texts is None else texts_of(texts, column)
    opened = store_for(store, suite)
    if found is not None:
        rows = add_texts(opened, found)
        lines(f"{len(rows):,} texts of {texts} are in {opened.url}.")
    if suite is not None:
        report = collect_suite(opened, suite)
        lines(
            f"{report.suite}: {len(report.collected)} tasks collected, {len(report.skipped)} were "
            f"there; {report.new_texts:,} new texts in {opened.url}."
        )


def suites(json: JsonOption = False) -> None:
    """List the suites and how many tasks each has."""
    from actstore.evaluate import list_suites
    from actstore.present import as_json, table

    listed = list_suites()
    if json:
        as_json(listed)
    else:
        rows = [(one.name, one.n_tasks, one.description) for one in listed]
        table(["suite", "tasks", "about"], rows)
