"""Showing where an experiment stands, once or until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from actstore.experiment.standing import Standing, Submission
from actstore.present import terminal
from actstore.present.slurm import show_jobs
from actstore.present.stages import show_stages
from actstore.present.status import show_evaluation_status, show_status
from actstore.present.terminal import lines


def show_standing(standing: Standing) -> None:
    """`actstore status`: stages, jobs, then what is known of checkpoints and scores."""
    name = standing.experiment
    title = standing.url if name is None else f"{name}, in {standing.url}"
    show_stages(standing.stages, title)
    if standing.submission is not None:
        _show_submission(standing.submission)
    if standing.overview is None:
        lines(f"{standing.url} was not made yet: the stage collect makes it.")
        return
    show_status(standing.overview.extraction)
    show_evaluation_status(standing.overview.evaluation)


def watch_standing(look: Callable[[], Standing], every: float) -> Standing:
    """Show where something stands again and again, until it is done or has failed; its last look.

    Drawn in place on a terminal; elsewhere printed whenever it has changed. every: seconds between
    two looks.
    """
    screen = Console()
    if not screen.is_terminal:
        return _watch(look, every, _PrintChanges())
    with Live(console=screen, auto_refresh=False) as live:
        return _watch(look, every, lambda text: live.update(Text.from_ansi(text), refresh=True))


def _watch(look: Callable[[], Standing], every: float, show: Callable[[str], None]) -> Standing:
    while True:
        standing = look()
        with terminal.console.capture() as captured:
            show_standing(standing)
        show(captured.get())
        if standing.done or standing.failed:
            return standing
        time.sleep(every)


class _PrintChanges:
    """Prints a text, with the time, unless it is the one before."""

    def __init__(self) -> None:
        self._before = ""

    def __call__(self, text: str) -> None:
        if text != self._before:
            lines(time.strftime("%Y-%m-%d %H:%M:%S"), text.rstrip("\n"))
        self._before = text


def _show_submission(submission: Submission) -> None:
    manifest = submission.manifest
    if submission.problem is None:
        show_jobs(manifest, submission.jobs)
    else:
        lines(f"Submitted from {manifest.folder}; its jobs cannot be told: {submission.problem}")
    for failed in submission.failed:
        lines(f"{failed.job} failed; {failed.log} ends with:")
        lines(*(f"    {line}" for line in failed.last_lines or ("(nothing)",)))
