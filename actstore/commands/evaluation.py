"""Commands that score stored layers and show the scores.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names, renamings, transforms_of, worker_jobs_of
from actstore.options import (
    SUITE_HELP,
    CheckpointsOption,
    ClusterOption,
    DaskOption,
    JsonOption,
    LayersOption,
    ModelOption,
    StoreArgument,
)


def evaluate(
    store: StoreArgument,
    suite: Annotated[str, typer.Option(help=SUITE_HELP)],
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    pooling: Annotated[str, typer.Option(help="Comma-separated.")] = "mean_normed",
    transform: Annotated[
        str,
        typer.Option(
            help="Done to states before scoring, comma-separated, each is scored: none, or steps "
            "as center+l2 of mean|concat (of all --layers), center|whiten, dims256, l2."
        ),
    ] = "none",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dask: DaskOption = None,
    cluster: ClusterOption = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Of a process. Scores of other numbers of threads differ.")
    ] = 1,
    upstream_code: Annotated[
        bool,
        typer.Option(
            "--upstream-code", help="Run mteb's own code throughout: same scores, slower."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Score again what was scored.")] = False,
) -> None:
    """Score MTEB tasks from the store, for every checkpoint and layer. No model is loaded.

    A process uses one thread and no GPU, so that scores do not depend on the machine.
    """
    from actstore.evaluate import Conditions, EvaluationRequest
    from actstore.evaluate import evaluate as run
    from actstore.present.reports import show_evaluation
    from actstore.store import open_store

    opened = open_store(store)
    request = EvaluationRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        layers=layers,
        poolings=names(pooling),
        suite=suite,
        transforms=transforms_of(transform),
        workers=workers,
        dask=dask,
        worker_jobs=worker_jobs_of(dask, cluster, "eval"),
        conditions=Conditions(threads=threads, upstream=upstream_code),
        overwrite=overwrite,
    )
    report = run(opened, request)
    show_evaluation(report)
    if report.failures:
        raise typer.Exit(1)


def scores(
    store: StoreArgument,
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    by: Annotated[
        str, typer.Option(help="One row for each task, type, suite, subset, or best layer: layer.")
    ] = "suite",
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv or .parquet; a folder gets mteb's own result files."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show scores, or write them to files. A mean over tasks is given once all are scored."""
    from actstore.present.scores import records, show_scores
    from actstore.present.terminal import as_json, lines
    from actstore.store import open_store
    from actstore.store.results.score_export import ScoreQuery, export_scores, select_scores

    opened = open_store(store)
    folder = out is not None and not out.suffix
    query = ScoreQuery("subset" if folder else by, suite, model, names(checkpoints))
    if out is not None:
        written = export_scores(opened, out, query)
        lines(f"{len(written):,} files written to {out}." if folder else f"{out} written.")
        return
    table = select_scores(opened, query)
    as_json(records(table)) if json else show_scores(table)


def compare(
    store: StoreArgument,
    published: Annotated[
        Path,
        typer.Option("--with", help="CSV, Parquet or JSON lines, or a folder of mteb results."),
    ],
    suite: Annotated[str | None, typer.Option(help=SUITE_HELP)] = None,
    by: Annotated[
        str, typer.Option(help="One row for each layer, type, task, checkpoint, or cell.")
    ] = "layer",
    model: ModelOption = None,
    pooling: Annotated[str | None, typer.Option(help="Of our scores.")] = None,
    transform: Annotated[str | None, typer.Option(help="Of our scores; none: as stored.")] = None,
    their_model: Annotated[str | None, typer.Option(help="As the table calls it.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Ours that all their scores are of.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Ours that all their scores are of.")] = None,
    layer_offset: Annotated[
        int, typer.Option(help="Added to their layers; 1 where their 0 is the first block.")
    ] = 0,
    rename_checkpoint: Annotated[
        list[str] | None, typer.Option(help="THEIRS=OURS; may be given several times.")
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Their scores go to 100.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write all cells to .csv or .parquet.")] = None,
    json: JsonOption = False,
) -> None:
    """Set a published table of scores beside ours, layer by layer and task by task."""
    from actstore.present.scores import records, show_scores
    from actstore.present.terminal import as_json, lines
    from actstore.report.compare import OurScores
    from actstore.report.compare import compare as run
    from actstore.report.published import Reading
    from actstore.store import open_store
    from actstore.store.results.score_export import write_table

    renamed = renamings(rename_checkpoint or [])
    ours = OurScores(suite, model, pooling, "" if transform == "none" else transform)
    reading = Reading(their_model, checkpoint, layer, layer_offset, renamed, percent)
    comparison = run(open_store(store), published, ours, reading)
    if out is not None:
        lines(f"{write_table(comparison.cells, out)} written.")
        return
    table = comparison.table(by)
    as_json(records(table)) if json else show_scores(table)
