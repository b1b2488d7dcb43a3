"""Running an experiment here: its stages one after the other, each logged in the store."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from actstore.errors import ActstoreError, InvalidInputError, NotAStoreError, StoppedError
from actstore.experiment.asked import asked_of
from actstore.experiment.record import experiment_digest, record_experiment
from actstore.experiment.schema import Experiment, Stage, TrackingSection
from actstore.experiment.stages import SHARED, ordered, run_stage
from actstore.inputs import store_for
from actstore.present.terminal import lines
from actstore.shares import Share
from actstore.stopping import stop_on_signals
from actstore.store import Store, open_store
from actstore.store.records.runs import RunLog
from actstore.store.status.stage_status import overview
from actstore.tracking import Tracker, Tracking, tracking

STAGE_EVENT = "stage"
"""Of a store's run log: `stage`, `state` (began, finished, failed, stopped), `experiment` (its
digest), `share` (`0/4` or None), and of one that failed `error` and `message`."""


def run_experiment(
    experiment: Experiment,
    stages: Sequence[str] = (),
    share: Share | None = None,
    *,
    file: Path | None = None,
) -> None:
    """Run an experiment's stages in order, on the devices found here. What is done is skipped.

    stages: some of them, those of the experiment if empty. share: the part of `eval` and `metrics`
    that this process does. file: for what errors tell to type.
    The resolved experiment is kept in the store, and each stage's beginning and end are logged. An
    error of a stage is raised with a note that names the stage and those that were not run.
    Raises StoppedError on SIGTERM and SIGUSR1, InvalidInputError for a share of other stages.
    """
    chosen = ordered(stages, experiment)
    _require_shared(chosen, share, file)
    with stop_on_signals() as stop:
        store = _store(experiment, chosen)
        log = _begin_log(store, experiment, chosen, share)
        with _tracker(experiment, share) as tracker:
            for place, stage in enumerate(chosen):
                if len(chosen) > 1:
                    lines(f"Stage {place + 1} of {len(chosen)}: {stage}")
                with _logged(log, experiment, stage, share), _named(chosen[place:], file):
                    try:
                        run_stage(store, experiment, stage, share)
                    except Exception:
                        stop.check()  # a library may have made another error of it
                        raise
                    stop.check()
                if experiment.tracking != TrackingSection():
                    tracker.log(place, _done(store, experiment))


def describe_run(experiment: Experiment, stages: Sequence[str] = ()) -> str:
    """What `run_experiment` would do, in lines for people. Looks at no model, data or store."""
    chosen = ordered(stages, experiment)
    texts = f"texts of {experiment.texts.file}" if experiment.texts else experiment.suite_or_tasks
    models = [
        f"  {one.model} at {', '.join(one.checkpoints or ())}, layers {one.layers}"
        for one in experiment.each_model
    ]
    return "\n".join(
        [
            f"{experiment.name} (digest {experiment_digest(experiment)[:8]}): "
            f"{', '.join(chosen)} into {experiment.store}",
            *models,
            f"  on {texts}; poolings {', '.join(experiment.poolings)}",
        ]
    )


def _tracker(experiment: Experiment, share: Share | None) -> AbstractContextManager[Tracker]:
    """Where the experiment's numbers go; to nowhere unless it says so."""
    asked = experiment.tracking
    folder = Path(asked.tensorboard) if asked.tensorboard else None
    run = "-".join([experiment.name, "all" if share is None else str(share).replace("/", "of")])
    settings = {"experiment": experiment_digest(experiment), "store": experiment.store}
    return tracking(Tracking(folder, asked.wandb), f"{run}-{os.getpid()}", settings)


def _done(store: Store, experiment: Experiment) -> dict[str, float]:
    """How much of each stage is done, by `extract/done`."""
    stages = overview(store, asked_of(experiment, store)).stages
    return {f"{one.stage}/done": float(one.done) for one in stages}


def _require_shared(stages: Sequence[Stage], share: Share | None, file: Path | None) -> None:
    others = [stage for stage in stages if stage not in SHARED]
    if share is not None and others:
        raise InvalidInputError(
            f"--share {share} divides {' and '.join(SHARED)}, not {', '.join(others)}. Write: "
            f"{_command(file, SHARED[:1])} --share {share}"
        )


def _store(experiment: Experiment, stages: Sequence[Stage]) -> Store:
    """Opened; made where texts are collected into it."""
    if "collect" in stages:
        return store_for(experiment.store, experiment.suite_or_tasks)
    try:
        return open_store(experiment.store)
    except NotAStoreError as error:
        error.add_note("The stage collect makes it; run it first: --stages collect")
        raise


def _begin_log(
    store: Store, experiment: Experiment, stages: Sequence[Stage], share: Share | None
) -> RunLog:
    digest = record_experiment(store, experiment)
    return RunLog(
        store.storage,
        command=sys.argv,
        settings={
            "experiment": digest,
            "name": experiment.name,
            "stages": [*stages],
            "share": None if share is None else str(share),
        },
    )


@contextmanager
def _logged(
    log: RunLog, experiment: Experiment, stage: Stage, share: Share | None
) -> Iterator[None]:
    """Logs a stage's beginning and how it ended."""
    digest, part = experiment_digest(experiment), None if share is None else str(share)

    def say(state: str, **more: str) -> None:
        log.event(STAGE_EVENT, stage=stage, state=state, experiment=digest, share=part, **more)

    say("began")
    try:
        yield
    except (StoppedError, KeyboardInterrupt):
        say("stopped")
        raise
    except Exception as error:
        say("failed", error=type(error).__name__, message=str(error))
        raise
    say("finished")


@contextmanager
def _named(stages: Sequence[Stage], file: Path | None) -> Iterator[None]:
    """Notes with an error which stage it ended, and how to go on. stages: it and those to come."""
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        first, *rest = stages
        left_out = f"; not run: {', '.join(rest)}" if rest else ""
        error.add_note(f"This ended the stage {first}{left_out}.")
        if isinstance(error, ActstoreError):
            error.add_note(f"Once it is mended, go on with: {_command(file, stages)}")
        raise


def _command(file: Path | None, stages: Sequence[Stage]) -> str:
    name = "FILE" if file is None else shlex.quote(str(file))
    return f"actstore run {name} --stages {','.join(stages)}"
