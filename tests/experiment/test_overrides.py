from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import InvalidInputError
from actstore.experiment.load import load_experiment
from actstore.experiment.schema import Experiment

_FILE = """\
name: small
store: s.zarr
models:
  - {model: org/a}
  - {model: org/b, layers: 3}
suite: demo
metrics: &shared {workers: 2}
evaluate: *shared
"""


def _with(folder: Path, *overrides: str) -> Experiment:
    path = folder / "e.yaml"
    path.write_text(_FILE, "utf-8")
    return load_experiment(path, overrides)


def test_overrides_take_the_place_of_what_is_in_the_file(tmp_path: Path) -> None:
    made = _with(
        tmp_path,
        "extract.dtype=float32",
        "stages=[extract,eval]",
        "layers=-4:",
        "models.1.layers=2",
        "cluster.stages.eval.time=24:00:00",
        "tokens.texts=20",
        "suite=",
        "tasks=[STS12]",
        "extract={threads: 2}",
        "extract.batch_tokens=8",
    )
    assert made.extract.dtype == "float16", "a later override of the whole section counts"
    assert (made.extract.threads, made.extract.batch_tokens) == (2, 8)
    assert made.stages == ("extract", "eval")
    assert made.layers == "-4:"
    assert made.models[1].layers == "2"
    assert made.models[0].layers is None
    assert made.cluster.stages["eval"].time == "24:00:00"
    assert made.tokens is not None
    assert made.tokens.texts == "20"
    assert made.suite_or_tasks == "STS12"


def test_an_override_changes_nothing_else_that_an_alias_stands_for(tmp_path: Path) -> None:
    made = _with(tmp_path, "metrics.workers=5")
    assert (made.metrics.workers, made.evaluate.workers) == (5, 2)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "extrac.dtype=float32",
            "extrac .extrac.dtype=float32.: there is no.* Did you mean extract",
        ),
        ("extract.dtyp=float32", "extract.dtyp .*Did you mean dtype.*The keys of extract: "),
        ("extract.dtype=int8", "extract.dtype .extract.dtype=int8.: cannot be 'int8'"),
        ("layers", "'layers' overrides nothing. Write KEY=VALUE"),
        ("=3", "overrides nothing"),
        ("a..b=3", "overrides nothing"),
        ("stages=[eval", "stages=.eval, line 1 is no YAML"),
        ("name.first=x", "name.first=x: name is 'small', which has no 'first' in it"),
        ("models.2.layers=3", "models is a list: name an item from 0 to 1"),
        ("models.first.layers=3", "models is a list: name an item from 0 to 1"),
    ],
)
def test_an_override_that_cannot_be_meant_is_told(override: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=told):
        _with(tmp_path, override)


def test_an_override_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(_FILE.replace("name: small", "name: a b"), "utf-8")
    assert load_experiment(path, ["name=ab"]).name == "ab"
