"""The command that fits lenses to stored token states."""

from __future__ import annotations

from typing import Annotated

import typer

from actstore.inputs import names, worker_jobs_of
from actstore.options import (
    CheckpointsOption,
    ClusterOption,
    DaskOption,
    JsonOption,
    ModelOption,
    StoreArgument,
)


def fit_lens(
    store: StoreArgument,
    lens: Annotated[
        str, typer.Option(help="Comma-separated: mean_shift, procrustes, affine, tuned.")
    ] = "affine",
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    tokens_name: Annotated[
        str, typer.Option(help="The stored token sample that they are fitted to.")
    ] = "sample",
    eval_share: Annotated[
        float, typer.Option(help="Of its texts, chosen by content: they judge, nothing is fitted.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Chooses those texts.")] = 0,
    tuned_steps: Annotated[
        int, typer.Option(min=1, help="Steps of the tuned lens, at most.")
    ] = 500,
    tuned_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens the tuned lens is fitted to, at most.")
    ] = 25_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dask: DaskOption = None,
    cluster: ClusterOption = None,
    overwrite: Annotated[bool, typer.Option(help="Fit again what is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Fit lenses that translate every layer's states into the last one's, and store them."""
    from actstore.metrics.lens.fitted.tuned import TuningSettings
    from actstore.metrics.running.fit_request import LensFitRequest
    from actstore.metrics.running.fitting import fit_lens as fit
    from actstore.present.fitted_lenses import show_fits
    from actstore.present.terminal import as_json
    from actstore.store import open_store

    opened = open_store(store)
    request = LensFitRequest(
        model=model or opened.only_model(),
        checkpoints=names(checkpoints),
        kinds=names(lens),
        sample=tokens_name,
        eval_share=eval_share,
        seed=seed,
        tuning=TuningSettings(steps=tuned_steps),
        tuned_tokens=tuned_tokens,
        workers=workers,
        dask=dask,
        worker_jobs=worker_jobs_of(dask, cluster, "metrics"),
        overwrite=overwrite,
    )
    report = fit(opened, request)
    if json:
        as_json(list(report.fits))
    else:
        show_fits(report)
