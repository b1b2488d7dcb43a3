"""The command line: which commands there are, and in which order they are listed."""

from __future__ import annotations

from typing import Annotated

import typer

from actstore import __version__
from actstore.commands import (
    analysis,
    evaluation,
    export,
    extraction,
    fit_lens,
    lens,
    moving,
    plot,
    run,
    search,
    slurm,
    stores,
    tables,
    texts,
    views,
)

app = typer.Typer(
    name="actstore",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Every layer of every checkpoint, extracted **once** into a Zarr store; MTEB scores, "
        "metrics and xarray queries from there, without running the model again."
    ),
    epilog=(
        "Exit codes: 0 done · 1 failed · 2 wrong input · 3 data missing from the store · "
        "4 damage found · 75 stopped by a signal, run it again · 130 interrupted. "
        "Set ACTSTORE_DEBUG=1 for tracebacks."
    ),
)

app.command()(run.run)
app.add_typer(slurm.app)
app.command()(texts.suites)
app.command()(texts.fetch)
app.command()(texts.collect)
app.command()(views.views)
app.command()(extraction.plan)
app.command()(extraction.extract)
app.command("eval")(evaluation.evaluate)
app.command()(evaluation.scores)
app.command()(evaluation.compare)
app.command()(search.search)
app.command()(analysis.metrics)
app.command()(tables.tables)
app.command()(lens.lens)
app.command("fit-lens")(fit_lens.fit_lens)
app.command()(stores.info)
app.command()(stores.status)
app.command()(stores.verify)
app.command()(moving.copy)
app.command()(moving.merge)
app.command()(moving.push)
app.command()(moving.pull)
app.command()(moving.drop)
app.command()(plot.plot)
app.command()(export.export)
app.command()(analysis.report)
app.command()(analysis.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"actstore {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
