"""Commands that take an experiment to a SLURM cluster, and look after it there.

Each reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from typing import Annotated

import typer

from actstore.commands.run import ExperimentArgument, OverridesArgument
from actstore.inputs import names
from actstore.options import JsonOption

app = typer.Typer(
    name="slurm",
    no_args_is_help=True,
    help="Run an experiment as jobs of a SLURM cluster: **submit**, **status**, **logs**, "
    "**cancel**.",
)

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="What was submitted: the run folder, the experiment file or the store."
    ),
]


@app.command()
def submit(
    file: ExperimentArgument,
    overrides: OverridesArgument = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Cluster profile: a name or a file; the experiment's if left out."),
    ] = None,
    stages: Annotated[
        str | None, typer.Option(help="Only these, comma-separated; all of FILE if left out.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print scripts and commands; submit nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Cancel its jobs that wait or run, and submit anew.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Submit an experiment as a chain of jobs that requeue and resume by themselves."""
    from actstore.experiment.submitting import prepare
    from actstore.present.slurm import show_submission
    from actstore.present.terminal import as_json, lines
    from actstore.slurm import submission

    prepared = prepare(file, overrides or [], cluster, names(stages or ""))
    if dry_run:
        lines(submission.dry_run(prepared.chain))
        return
    manifest = prepared.submit(again=again)
    as_json(manifest) if json else show_submission(manifest)


@app.command()
def status(run: RunArgument, json: JsonOption = False) -> None:
    """Say where its jobs stand: waiting, running, done, failed, and why."""
    from actstore.experiment.submitting import find_submission
    from actstore.present.slurm import show_jobs, show_log
    from actstore.present.terminal import as_json
    from actstore.slurm.logs import last_lines, log_file
    from actstore.slurm.queue import job_states

    manifest = find_submission(run)
    states = job_states(manifest)
    if json:
        as_json(states)
        return
    show_jobs(manifest, states)
    for one in [one for one in states if one.failed and one.node][:3]:
        path = log_file(manifest, one.stage, one.job_id, one.task)
        show_log(one, str(path), last_lines(path, 5))


@app.command()
def cancel(run: RunArgument) -> None:
    """Cancel its jobs that wait or run. What is in the store stays."""
    from actstore.experiment.submitting import find_submission
    from actstore.present.slurm import show_cancelled
    from actstore.slurm import queue

    manifest = find_submission(run)
    show_cancelled(manifest, queue.cancel(manifest.jobs))


@app.command()
def logs(
    run: RunArgument,
    stage: Annotated[
        str | None, typer.Option(help="Only of these stages, comma-separated.")
    ] = None,
    n: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines of each.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print lines as they come, until all ended.")
    ] = False,
) -> None:
    """Show the ends of its logs, one for each job and array task; those that failed come first."""
    from actstore.experiment.submitting import find_submission
    from actstore.present.slurm import show_log, show_log_line
    from actstore.slurm import following
    from actstore.slurm.logs import NewLines, last_lines, log_file, log_files, stages_of
    from actstore.slurm.queue import failures_first, job_states

    manifest = find_submission(run)
    stages = stages_of(manifest, names(stage or ""))
    shown = [path for one in stages for path in log_files(manifest, one)]
    new = NewLines(shown)
    for state in failures_first([one for one in job_states(manifest) if one.stage in stages]):
        path = log_file(manifest, state.stage, state.job_id, state.task)
        if path in shown:
            show_log(state, str(path), last_lines(path, n))
    if follow:
        for state, line in following.follow(manifest, stages, new):
            show_log_line(state, line)
