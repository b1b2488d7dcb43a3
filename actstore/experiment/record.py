"""What identifies an experiment, and keeping it in the store that it fills."""

from __future__ import annotations

import json

import xxhash

from actstore.experiment.schema import Experiment
from actstore.store import Store
from actstore.yaml_files import write_yaml


def experiment_digest(experiment: Experiment) -> str:
    """32 hexadecimal digits: of all settings, paths and resources included, in any order of keys.

    Equal for a file, the same file with its keys in another order, and `resolved_yaml` of either.
    """
    settings = experiment.model_dump(mode="json")
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return xxhash.xxh3_128_hexdigest(canonical.encode())


def resolved_yaml(experiment: Experiment) -> str:
    """The experiment as a file that says everything: defaults, overrides, absolute paths."""
    settings = experiment.model_dump(mode="json")
    return (
        f"# Resolved by actstore; digest {experiment_digest(experiment)}.\n{write_yaml(settings)}"
    )


def record_experiment(store: Store, experiment: Experiment) -> str:
    """Keep the resolved experiment and the environment in the store; returns its digest.

    Nothing happens for one that is there: the environment is that of its first run.
    """
    digest = experiment_digest(experiment)
    store.keep_experiment(digest, experiment.name, resolved_yaml(experiment))
    return digest
