"""Commands that compute from a store, and draw.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names
from actstore.options import CheckpointsOption, LayersOption, ModelOption, StoreArgument


def metrics(
    store: StoreArgument,
    metric: Annotated[
        str, typer.Option(help="Comma-separated; all that the stored data allow if left out.")
    ] = "",
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    pooling: Annotated[str, typer.Option(help="Comma-separated.")] = "mean",
    task: Annotated[str | None, typer.Option(help="Only over this task's texts.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Compute again what is there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the metrics and stop.")] = False,
) -> None:
    """Compute label-free metrics of every checkpoint and layer, in parallel, from the store."""
    from actstore.metrics import MetricsRequest, compute_metrics, list_metrics
    from actstore.present.reports import show_metrics
    from actstore.present.terminal import table
    from actstore.store import open_store

    if list_:
        table(["metric", "over", "unit", "reference"], list_metrics())
        return
    opened = open_store(store)
    request = MetricsRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        layers=layers,
        metrics=names(metric),
        poolings=names(pooling),
        task=task,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
    )
    show_metrics(compute_metrics(opened, request))


def report(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    model: ModelOption = None,
) -> None:
    """Draw score and metric heatmaps over checkpoints and layers, and the best layers."""
    from actstore.present.terminal import lines
    from actstore.report import write_report
    from actstore.store import open_store

    lines(*(str(path) for path in write_report(open_store(store), out, model=model)))


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("actstore-demo"),
    workers: Annotated[int, typer.Option(min=1, help="Processes for evaluation.")] = 2,
) -> None:
    """Train a tiny model, then extract, evaluate, measure and report it. Needs no network."""
    from actstore.demo import run_demo
    from actstore.present.terminal import lines

    lines(run_demo(folder, workers=workers).summary())
