"""What an experiment asks of its store, told without its models, its data or mteb."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from actstore.experiment.schema import Experiment, ModelSection
from actstore.inputs import transforms_of
from actstore.refs import model_name
from actstore.selection import select_checkpoints
from actstore.store import Store
from actstore.store.status.asked import Asked, AskedModel
from actstore.yaml_files import read_yaml

_CONFIGS = ("config.json", "adapter_config.json")
"""What makes a sub-folder of a model a checkpoint."""
_LAST = re.compile(r"last:(\d+)")


def asked_of(experiment: Experiment, store: Store | None) -> Asked:
    """Stages, models, checkpoints and tasks of an experiment, as far as they can be told now.

    store: the experiment's; None if it was not made yet.
    """
    return Asked(
        name=experiment.name,
        stages=experiment.ordered_stages,
        models={model_name(one.model): _model(experiment, one) for one in experiment.each_model},
        tasks=_tasks(experiment, store),
        poolings=experiment.evaluate.poolings,
        transforms=transforms_of(",".join(experiment.evaluate.transforms)),
        report=experiment.report_path,
    )


def _model(experiment: Experiment, one: ModelSection) -> AskedModel:
    layers = one.layers or experiment.layers
    names, n = _checkpoints(one.model, one.checkpoints or experiment.checkpoints)
    return AskedModel(layers, experiment.evaluate.layers or layers, names, n)


def _checkpoints(model: str, selection: Sequence[str]) -> tuple[tuple[str, ...] | None, int | None]:
    """The checkpoints and how many they are; None where the hub has to be asked."""

    def known() -> Sequence[str]:
        folder = Path(model)
        if not folder.is_dir():
            raise _HubError
        configs = [path for name in _CONFIGS for path in folder.glob(f"*/{name}")]
        return sorted({path.parent.name for path in configs})

    try:
        names = select_checkpoints(selection, known)
    except _HubError:
        last = _LAST.fullmatch(selection[0]) if len(selection) == 1 else None
        return None, None if last is None else int(last[1])
    return names, len(names)


class _HubError(Exception):
    """A selection that cannot be read without asking the hub which checkpoints there are."""


def _tasks(experiment: Experiment, store: Store | None) -> tuple[str, ...] | None:
    """The tasks by name; None for a suite that is not in the store under the name it has here."""
    if experiment.texts is not None:
        return ()
    if experiment.suite is None:
        return tuple(dict.fromkeys(task.partition("[")[0].strip() for task in experiment.tasks))
    suite = experiment.suite
    if suite.lower().endswith((".yaml", ".yml")) and Path(suite).is_file():
        content = read_yaml(Path(suite)).value
        suite = str(content.get("name", suite)) if isinstance(content, dict) else suite
    if store is None or suite not in store.suites():
        return None
    return tuple(task["name"] for task in store.suite(suite)["tasks"])
