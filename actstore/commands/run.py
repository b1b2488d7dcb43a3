"""The command that runs an experiment file here.

It reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actstore.inputs import names
from actstore.stopping import stop_on_signals

ExperimentArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="An experiment file: see docs/experiment.md.")
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Instead of the file's: extract.dtype=float32."),
]
StagesOption = Annotated[
    str, typer.Option(help="Comma-separated: collect, extract, eval, metrics, report.")
]


@stop_on_signals()
def run(
    file: ExperimentArgument,
    overrides: OverridesArgument = None,
    stages: StagesOption = "",
    share: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Do this part of eval or metrics: 0/4 is the first of four."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, show it resolved, and stop.")
    ] = False,
) -> None:
    """Run an experiment here: collect, extract, evaluate, measure, report. Resumes where it was.

    `actstore slurm submit` runs the same file on a cluster.
    """
    from actstore.experiment.load import load_experiment, require_files
    from actstore.experiment.record import resolved_yaml
    from actstore.experiment.run import describe_run, run_experiment
    from actstore.present.terminal import lines
    from actstore.shares import Share

    experiment = load_experiment(file, overrides or [])
    part = None if share is None else Share.parse(share)
    require_files(experiment)
    if dry_run:
        lines(resolved_yaml(experiment), describe_run(experiment, names(stages)))
        return
    run_experiment(experiment, names(stages), part, file=file)
