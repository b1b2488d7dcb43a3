"""Commands that bring texts and tasks into a store.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import add_texts, collect_suite, names, store_for, texts_of
from actstore.options import (
    SUITE_HELP,
    JsonOption,
    PickledOption,
    RemoteCodeOption,
    RevisionsOption,
    StoreArgument,
)


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
    from actstore.present.terminal import lines

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


def suites(
    name: Annotated[
        str | None, typer.Argument(help="Show this suite's tasks; a suite as --suite takes it.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="A store: its suites too, and exact counts of its tasks.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the suites with their counts of tasks and texts, or one suite's tasks."""
    from actstore.evaluate import describe_suite, list_suites
    from actstore.present.scores import show_suite, show_suites
    from actstore.present.terminal import as_json
    from actstore.store import open_store

    opened = None if store is None else open_store(store)
    if name is None:
        listed = list_suites(opened)
        as_json(listed) if json else show_suites(listed)
    else:
        described = describe_suite(name, opened)
        as_json(described) if json else show_suite(described)


def fetch(
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    model: Annotated[str | None, typer.Option(help="Hub name.")] = None,
    checkpoints: RevisionsOption = "main",
    pickled_weights: PickledOption = False,
    trust_remote_code: RemoteCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Download data sets and models at their pinned revisions, for nodes without a network."""
    from actstore.present.reports import show_fetched
    from actstore.present.terminal import as_json

    if suite is None and model is None:
        raise typer.BadParameter("give --suite or --model")
    reports = []
    if suite is not None:
        from actstore.evaluate import fetch_suite

        reports.append(fetch_suite(suite))
    if model is not None:
        from actstore.extract import fetch_models

        reports.append(
            fetch_models(
                model,
                names(checkpoints),
                trust_remote_code=trust_remote_code,
                pickled=pickled_weights,
            )
        )
    as_json(reports) if json else show_fetched(reports)
