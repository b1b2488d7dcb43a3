"""An experiment as a chain of SLURM jobs: a job for each stage, waiting for those it reads from."""

from __future__ import annotations

import sys
from pathlib import Path

from actstore.experiment.record import experiment_digest
from actstore.experiment.schema import Experiment, Stage
from actstore.experiment.stages import SHARED, waits_for
from actstore.slurm.jobs import Chain, Job
from actstore.slurm.profile import ClusterProfile

_DIGITS = 8


def run_folder(experiment: Experiment) -> Path:
    """Where a submission of this experiment keeps scripts, logs and manifest: beside its store."""
    store = Path(experiment.store).absolute()
    name = f"{experiment.name}-{experiment_digest(experiment)[:_DIGITS]}"
    return store.with_name(f"{store.name}.runs") / name


def chain_of(experiment: Experiment, experiment_file: Path, profile: ClusterProfile) -> Chain:
    """The jobs of an experiment's stages, in order; dependencies bridge over stages left out.

    experiment_file: the resolved file that the jobs run, where every node can read it. Extraction
    starts a worker for each GPU; array tasks of `eval` and `metrics` do a share each, and those of
    `extract` join each other. Where the profile activates no software of its own, the jobs run
    this process's Python.
    """
    stages = experiment.ordered_stages
    jobs = [_job(experiment, experiment_file, profile, stage) for stage in stages]
    return Chain(experiment.name, run_folder(experiment), tuple(jobs), profile)


def _job(
    experiment: Experiment, experiment_file: Path, profile: ClusterProfile, stage: Stage
) -> Job:
    resources = profile.resources(stage, experiment.cluster.stages.get(stage))
    return Job(
        stage=stage,
        name=f"{experiment.name}-{stage}",
        command=(
            *_program(profile),
            *("run", str(experiment_file.absolute()), "--stages", stage),
        ),
        resources=resources,
        launch=stage == "extract",
        after=waits_for(stage, experiment.ordered_stages),
        share_option=stage in SHARED and resources.array is not None,
    )


def _program(profile: ClusterProfile) -> tuple[str, ...]:
    """`actstore` as the profile's setup activates it; without a setup, of this Python."""
    return ("actstore",) if profile.setup else (sys.executable, "-m", "actstore")
