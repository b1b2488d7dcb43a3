"""Commands that score stored layers.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from typing import Annotated

import typer

from actstore.inputs import names, transforms_of
from actstore.options import SUITE_HELP, CheckpointsOption, LayersOption, ModelOption, StoreArgument


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
    dask: Annotated[
        str | None,
        typer.Option(help="Score on the workers of a Dask scheduler: its address, or local."),
    ] = None,
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
    from actstore.present import show_evaluation
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
        conditions=Conditions(threads=threads, upstream=upstream_code),
        overwrite=overwrite,
    )
    report = run(opened, request)
    show_evaluation(report)
    if report.failures:
        raise typer.Exit(1)
