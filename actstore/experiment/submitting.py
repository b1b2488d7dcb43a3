"""An experiment on its way to a cluster, and found again there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actstore.addresses import beside
from actstore.errors import InvalidInputError
from actstore.experiment.jobs import chain_of, run_folder
from actstore.experiment.load import load_experiment, require_files
from actstore.experiment.record import experiment_digest, resolved_yaml
from actstore.experiment.schema import Experiment
from actstore.experiment.stages import ordered
from actstore.slurm.jobs import Chain
from actstore.slurm.manifest import FILE_NAME, RUNS, Manifest, manifests_of, read_manifest
from actstore.slurm.profile import ClusterProfile, load_profile, profile_names
from actstore.slurm.submission import submit

EXPERIMENT_FILE = "experiment.yaml"
"""In the run folder: the resolved experiment, which the jobs run."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that can be submitted: files, profile and stages are there."""

    experiment: Experiment
    chain: Chain

    def submit(self, *, again: bool = False) -> Manifest:
        """Submit it, with its resolved file in the run folder. Raises as `slurm.submit`."""
        return submit(
            self.chain,
            files={EXPERIMENT_FILE: resolved_yaml(self.experiment)},
            digest=experiment_digest(self.experiment),
            again=again,
        )


def prepare(
    file: Path | str,
    overrides: Sequence[str] = (),
    cluster: str | None = None,
    stages: Sequence[str] = (),
) -> Prepared:
    """An experiment file as a chain of jobs; nothing is written.

    cluster: name or file of the profile, the experiment's own if None. stages: some of the
    experiment's, all if empty. Raises InvalidInputError or UnknownNameError for a file, an
    override, a profile or a stage that cannot be used, and for files that are not there.
    """
    experiment = load_experiment(file, overrides)
    require_files(experiment)
    profile = _profile(experiment, cluster)
    chosen = experiment.model_copy(update={"stages": ordered(stages, experiment)})
    folder = run_folder(experiment)
    chain = replace(chain_of(chosen, folder / EXPERIMENT_FILE, profile), folder=folder)
    return Prepared(experiment, chain)


def find_submission(run: str) -> Manifest:
    """The latest submission of a run folder, an experiment file or a store.

    Of an experiment file it is the latest of that name, with whatever overrides. Raises
    InvalidInputError if nothing was submitted.
    """
    path = Path(run).expanduser()
    if path.suffix.lower() in (".yaml", ".yml"):
        experiment = load_experiment(path)
        runs = beside(experiment.store, RUNS)
        found = [one for one in manifests_of(experiment.store) if one.experiment == experiment.name]
        where = f"{experiment.name} was never submitted from here: {runs} has none"
    elif (path / FILE_NAME).exists():
        return read_manifest(path)
    else:
        found = manifests_of(run)
        where = (
            f"Nothing was submitted for {run}: it is no run folder, and {beside(run, RUNS)} has "
            "none"
        )
    if not found:
        raise InvalidInputError(f"{where}. Run: actstore slurm submit EXPERIMENT.yaml")
    return found[0]


def _profile(experiment: Experiment, cluster: str | None) -> ClusterProfile:
    name = cluster or experiment.cluster.profile
    if name is None:
        raise InvalidInputError(
            f"Which cluster is {experiment.name} for? The experiment names no profile. Give "
            f"--cluster NAME: {', '.join(profile_names())}, or a file of your own; see "
            "docs/cluster-profiles.md."
        )
    return load_profile(name)
