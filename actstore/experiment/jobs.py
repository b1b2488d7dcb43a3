"""An experiment as a chain of SLURM jobs: a job for each stage, waiting for those it reads from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from actstore.addresses import beside
from actstore.errors import InvalidInputError
from actstore.experiment.record import experiment_digest
from actstore.experiment.schema import Experiment, Stage
from actstore.experiment.stages import SHARED, ordered, waits_for
from actstore.slurm.jobs import Chain, Job
from actstore.slurm.manifest import RUNS
from actstore.slurm.profile import ClusterProfile

_DIGITS = 8


def run_folder(experiment: Experiment) -> Path:
    """Where a submission of this experiment keeps scripts, logs and manifest.

    Beside its store; of one that is no folder, in the working folder.
    """
    name = f"{experiment.name}-{experiment_digest(experiment)[:_DIGITS]}"
    return beside(experiment.store, RUNS) / name


def chain_of(
    experiment: Experiment,
    experiment_file: Path,
    profile: ClusterProfile,
    stages: Sequence[str] = (),
) -> Chain:
    """The jobs of an experiment's stages, in order; dependencies bridge over stages left out.

    experiment_file: the resolved file that the jobs run, where every node can read it. stages:
    some of them; the experiment's if empty. Extraction starts a worker for each GPU; array tasks
    of `eval` and `metrics` do a share each, and those of `extract` join each other. Where the
    profile activates no software of its own, the jobs run this process's Python.
    Raises UnknownNameError for a stage there is not, and InvalidInputError for what would fail in
    the jobs: several workers of a node that would each take all of its devices, and Dask workers
    without a cluster profile in the experiment.
    """
    chosen = ordered(stages, experiment)
    jobs = [_job(experiment, experiment_file, profile, stage, chosen) for stage in chosen]
    return Chain(experiment.name, run_folder(experiment), tuple(jobs), profile)


def _job(
    experiment: Experiment,
    experiment_file: Path,
    profile: ClusterProfile,
    stage: Stage,
    chosen: Sequence[Stage],
) -> Job:
    resources = profile.resources(stage, experiment.cluster.stages.get(stage))
    if stage == "extract":
        _require_own_devices(experiment, resources.tasks_per_node or resources.gpus)
    elif stage in SHARED:
        _require_profile(experiment, stage)
    return Job(
        stage=stage,
        name=f"{experiment.name}-{stage}",
        command=(
            *_program(profile),
            *("run", str(experiment_file.absolute()), "--stages", stage),
        ),
        resources=resources,
        launch=stage == "extract",
        after=waits_for(stage, chosen),
        share_option=stage in SHARED and resources.array is not None,
    )


def _require_own_devices(experiment: Experiment, n_workers: int) -> None:
    """Each of several workers that srun starts on a node takes one device, not all."""
    how = experiment.extract
    asked = f"devices: {how.devices}" if how.device_map is None else f"device_map: {how.device_map}"
    if n_workers > 1 and (how.devices not in ("auto", "cpu") or how.device_map is not None):
        raise InvalidInputError(
            f"extract: {{{asked}}} would hold for each of the {n_workers} workers that srun starts "
            "on a node, and they would share devices. Leave it out, so that each takes its own, or "
            "have one worker: cluster.stages.extract.tasks_per_node=1"
        )


def _require_profile(experiment: Experiment, stage: Stage) -> None:
    """The jobs know what the experiment says, not what was typed beside it."""
    how = experiment.evaluate if stage == "eval" else experiment.metrics
    if how.dask == "slurm" and experiment.cluster.profile is None:
        raise InvalidInputError(
            f"The stage {stage} starts Dask workers on SLURM, and the experiment names no cluster "
            "profile for them. Add: cluster.profile=NAME"
        )


def _program(profile: ClusterProfile) -> tuple[str, ...]:
    """`actstore` as the profile's setup activates it; without a setup, of this Python."""
    return ("actstore",) if profile.setup else (sys.executable, "-m", "actstore")
