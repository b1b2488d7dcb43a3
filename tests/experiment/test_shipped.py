"""The experiments that are shipped say what they claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.demo import MODEL, POOLING, SUITE
from actstore.experiment.load import load_experiment
from actstore.experiment.schema import Experiment
from actstore.refs import parse_layers
from actstore.selection import select_checkpoints

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.yaml"))
_BLOCKS = 24
"""Of Pythia-410m."""


def _shipped(name: str) -> Experiment:
    return load_experiment(FOLDER / f"{name}.yaml")


def _checkpoints(experiment: Experiment) -> tuple[str, ...]:
    return select_checkpoints(experiment.checkpoints, list)


def test_there_are_the_four() -> None:
    assert [file.stem for file in FILES] == [
        "demo",
        "exp1_main_final9layers",
        "exp2_final50checkpoints_final4layers",
        "training_dynamics",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_can_be_read_and_edited_with_the_schema(file: Path) -> None:
    assert load_experiment(file).description
    first = file.read_text("utf-8").splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / schema).resolve() == FOLDER.parent / "docs" / "experiment.schema.json"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_asks_the_cluster_for_what_a_stage_needs_and_no_more(file: Path) -> None:
    stages = load_experiment(file).cluster.stages
    for name, resources in stages.items():
        assert resources.time
        assert resources.memory
        assert resources.cpus_per_task
        assert not resources.gpus or name == "extract"
        assert (resources.partition, resources.account) == (None, None), "the profile's"


def test_exp1_is_the_final_9_layers_of_main() -> None:
    made = _shipped("exp1_main_final9layers")
    assert made.model == "EleutherAI/pythia-410m"
    assert made.suite == "layer-by-layer"
    assert _checkpoints(made) == ("main",)
    assert parse_layers(made.layers, _BLOCKS) == parse_layers("-9:", _BLOCKS)


def test_exp2_is_the_final_4_layers_of_the_final_50_checkpoints() -> None:
    made = _shipped("exp2_final50checkpoints_final4layers")
    assert _checkpoints(made) == tuple(f"step{n}000" for n in range(94, 144))
    assert parse_layers(made.layers, _BLOCKS) == parse_layers("-4:", _BLOCKS)


def test_training_dynamics_is_every_layer_at_log_spaced_checkpoints() -> None:
    made = _shipped("training_dynamics")
    assert len(_checkpoints(made)) == 20
    assert _checkpoints(made)[-1] == "step143000"
    assert parse_layers(made.layers, _BLOCKS) == tuple(range(25))


def test_the_demo_is_that_of_make_demo() -> None:
    made = _shipped("demo")
    demo = FOLDER.parent / "actstore-demo"
    assert made.model == str(demo / MODEL)
    assert made.suite == SUITE
    assert POOLING in made.evaluate.poolings
    assert made.store == str(demo / "experiment.zarr")


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: file.stem)
def test_each_says_how_its_layers_are_called_elsewhere(file: Path) -> None:
    """Layer by Layer counts as we do, layerwise-checkpoint-search from the first block's output."""
    lines = [line.removeprefix("#").strip() for line in file.read_text("utf-8").splitlines()]
    ours, paper, search = (
        next(line.removeprefix(name).split() for line in lines if line.startswith(f"{name}  "))
        for name in (
            "actstore",
            "Layer by Layer (Skean et al. 2025)",
            "layerwise-checkpoint-search",
        )
    )
    assert paper == ours
    pairs = [(a, b) for a, b in zip(ours, search, strict=True) if a.isdigit() and b.isdigit()]
    assert pairs
    assert all(int(a) == int(b) + 1 for a, b in pairs)
    layers = parse_layers(load_experiment(file).layers, _BLOCKS)
    assert (int(ours[0]), int(ours[-1])) == (layers[0], layers[-1])
