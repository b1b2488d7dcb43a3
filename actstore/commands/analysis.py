"""Commands that compute from a store, and draw.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names, worker_jobs_of
from actstore.options import (
    CheckpointsOption,
    ClusterOption,
    DaskOption,
    LayersOption,
    ModelOption,
    StoreArgument,
)


def metrics(
    store: StoreArgument,
    metric: Annotated[
        str, typer.Option(help="Comma-separated; most that the stored data allow if left out.")
    ] = "",
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    tasks: Annotated[
        str, typer.Option(help="Over the texts of each of these tasks; else over all texts.")
    ] = "",
    sample: Annotated[
        int | None, typer.Option(min=1, help="Over so many of the texts, drawn by --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the texts of --sample and of all pairs.")] = 0,
    pooling: Annotated[str, typer.Option(help="Comma-separated.")] = "mean",
    against: Annotated[
        str,
        typer.Option(
            help="What layers are compared with: previous_layer, last_layer, layer:N, "
            "previous_checkpoint, last_checkpoint, checkpoint:NAME."
        ),
    ] = "previous_layer",
    views: Annotated[str, typer.Option(help="Sets of views; all that there are.")] = "",
    tokens_name: Annotated[str, typer.Option(help="Token samples; all that there are.")] = "",
    lens: Annotated[
        str, typer.Option(help="final, next_block, raw, or a lens of actstore fit-lens.")
    ] = "final",
    intervals: Annotated[
        int,
        typer.Option(
            min=0, help="Also of metrics that are no means, by leaving out 1 of N groups of texts."
        ),
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dask: DaskOption = None,
    cluster: ClusterOption = None,
    overwrite: Annotated[bool, typer.Option(help="Compute again what is there.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write all values of the model that the store has.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the metrics and stop.")] = False,
) -> None:
    """Compute label-free metrics of every checkpoint and layer, in parallel, from the store."""
    from actstore.metrics import MetricsRequest, compute_metrics, list_metrics
    from actstore.present.reports import show_metrics
    from actstore.present.terminal import table
    from actstore.store import open_store

    if list_:
        table(["metric", "over", "unit", "range", "reference"], list_metrics())
        return
    opened = open_store(store)
    request = MetricsRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        layers=layers,
        metrics=names(metric),
        tasks=names(tasks),
        sample=sample,
        seed=seed,
        poolings=names(pooling),
        against=names(against),
        view_sets=names(views),
        token_samples=names(tokens_name),
        lenses=names(lens),
        interval_groups=intervals,
        workers=workers,
        dask=dask,
        worker_jobs=worker_jobs_of(dask, cluster, "metrics"),
        overwrite=overwrite,
    )
    show_metrics(compute_metrics(opened, request))
    if csv is not None:
        values = opened.metric_table()
        values[values["model"] == request.model].to_csv(csv, index=False)


def report(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    model: ModelOption = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Whose means are shown; may be repeated. All that were collected."),
    ] = None,
    tables: Annotated[
        bool, typer.Option("--tables", help="Also write CSV tables, into a folder beside it.")
    ] = False,
) -> None:
    """Write one page, to open in any browser, of all scores and metrics of a store."""
    from actstore.present.terminal import lines
    from actstore.report import write_report
    from actstore.store import open_store

    written = write_report(open_store(store), out, model=model, suites=suite or (), tables=tables)
    lines(*(str(path) for path in written))


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("actstore-demo"),
    workers: Annotated[int, typer.Option(min=1, help="Processes for evaluation.")] = 2,
) -> None:
    """Train a tiny model, then extract, evaluate, measure and report it. Needs no network."""
    from actstore.demo import run_demo
    from actstore.present.terminal import lines

    lines(run_demo(folder, workers=workers).summary())
