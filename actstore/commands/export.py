"""The command that writes files for other tools.

It reads options, calls one function and prints its result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.errors import InvalidInputError
from actstore.inputs import names
from actstore.options import CheckpointsOption, LayersOption, ModelOption, StoreArgument


def export(
    store: StoreArgument,
    what: Annotated[str, typer.Option(help="scores, leaves, metrics, texts, states or tokens.")],
    out: Annotated[Path, typer.Option(help="A .csv, .parquet or .nc (NetCDF) file.")],
    model: ModelOption = None,
    checkpoints: CheckpointsOption = "",
    layers: LayersOption = "all",
    pooling: Annotated[
        str | None, typer.Option(help="One; of states mean if left out, of others all.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Of a collected suite: its scores, its texts.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Likewise of some tasks: STS12,STS13.")] = None,
    tokens_name: Annotated[str, typer.Option(help="Which token sample, of tokens.")] = "sample",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a table or labelled arrays that R, Julia, pandas and xarray read."""
    from actstore.export import ExportRequest
    from actstore.export import export as write
    from actstore.present.terminal import lines
    from actstore.store import open_store

    if suite is not None and task is not None:
        raise InvalidInputError("Give --suite or --task, not both.")
    request = ExportRequest(
        what=what,
        model=model,
        checkpoints=names(checkpoints),
        layers=layers,
        pooling=pooling,
        suite=suite or task,
        sample=tokens_name,
        overwrite=overwrite,
    )
    lines(f"{write(open_store(store), out, request)} written.")
