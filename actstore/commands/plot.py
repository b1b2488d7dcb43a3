"""The command that draws a figure.

It reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names
from actstore.options import CheckpointsOption


def plot(
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help="See --list.")] = "",
    store: Annotated[
        str, typer.Argument(metavar="[STORE]", help="Path or URL: pythia.zarr, s3://bucket/x.zarr.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="The file to write: .pdf, .png or .svg.")] = None,
    model: Annotated[
        str, typer.Option(help="Comma-separated, for figures of several; all if left out.")
    ] = "",
    checkpoints: CheckpointsOption = "",
    layers: Annotated[str, typer.Option(help="all | 0,3,6 | 15-23 | -4:")] = "all",
    suite: Annotated[
        str | None, typer.Option(help="A collected suite: its tasks, its way to count them.")
    ] = None,
    task: Annotated[str, typer.Option(help="Comma-separated; all of the suite if left out.")] = "",
    metric: Annotated[str, typer.Option(help="Comma-separated; a few if left out.")] = "",
    source: Annotated[
        str, typer.Option(help="Of metrics that have values from several, comma-separated.")
    ] = "",
    pooling: Annotated[str | None, typer.Option(help="Of scores, states and metrics.")] = None,
    transform: Annotated[str | None, typer.Option(help="Of scores; none: as stored.")] = None,
    baseline: Annotated[
        str, typer.Option(help="CHECKPOINT/LAYER for win-rate; the last ones if left out.")
    ] = "",
    depth: Annotated[bool, typer.Option("--depth", help="Layers as per cent of depth.")] = False,
    tsne: Annotated[
        bool, typer.Option("--tsne", help="t-SNE in maps, not principal components.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Draws the points of maps.")] = 0,
    width: Annotated[
        str, typer.Option(help="column (3.25 inches), text (6.75), or inches.")
    ] = "column",
    list_: Annotated[
        bool, typer.Option("--list", help="List the kinds, what they need and what STORE has.")
    ] = False,
) -> None:
    """Draw a figure of scores, metrics or states: .pdf, .png or .svg."""
    from actstore.present.terminal import lines, table
    from actstore.report.figures import Choice, draw_to, list_kinds, width_of
    from actstore.store import open_store

    if list_:
        # `plot --list STORE` leaves no kind to say, so the store stands where a kind would.
        place = store or kind
        found = list_kinds(open_store(place) if place else None)
        table(found.headings, found.rows)
        lines(*found.commands)
        return
    if not kind or not store:
        raise typer.BadParameter("Say which figure of which store: actstore plot KIND STORE")
    choice = Choice(
        models=names(model),
        checkpoints=names(checkpoints),
        layers=layers,
        suite=suite,
        tasks=names(task),
        metrics=names(metric),
        sources=names(source),
        pooling=pooling,
        transform="" if transform == "none" else transform,
        baseline=baseline,
        depth=depth,
        tsne=tsne,
        seed=seed,
        width=width_of(width),
    )
    lines(f"{draw_to(kind, open_store(store), choice, out or Path(f'{kind}.pdf'))} written.")
