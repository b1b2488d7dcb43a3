from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from actstore.errors import InvalidInputError
from actstore.evaluate import EvaluationRequest, Transform
from actstore.experiment import forms, schema
from actstore.experiment.documentation import experiment_page
from actstore.experiment.json_schema import experiment_schema, schema_file
from actstore.experiment.schema import STAGES, Experiment, Pooling
from actstore.extract import ExtractionRequest
from actstore.extract.states.pooling import pooling_names
from actstore.extract.workers.devices import worker_devices
from actstore.metrics import MetricsRequest
from actstore.slurm.profile import STAGES as STAGES_OF_PROFILES

DOCS = Path(__file__).parents[2] / "docs"


def _experiment(**given: Any) -> Experiment:
    return Experiment.model_validate(
        {"name": "e", "store": "s", "model": "m", "suite": "x"} | given
    )


def _told(**given: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        _experiment(**given)
    return str(refused.value)


def test_the_poolings_are_those_of_extraction() -> None:
    assert list(get_args(Pooling)) == pooling_names()


def test_the_stages_are_those_of_cluster_profiles() -> None:
    assert STAGES == STAGES_OF_PROFILES


@pytest.mark.parametrize(
    ("section", "request_type", "others"),
    [
        (schema.ExtractSection, ExtractionRequest, {}),
        (schema.EvaluateSection, EvaluationRequest, {"transforms": ("none",), "layers": None}),
        (schema.MetricsSection, MetricsRequest, {"layers": None}),
    ],
)
def test_what_is_left_out_is_as_the_functions_have_it(
    section: type[BaseModel], request_type: Any, others: dict[str, object]
) -> None:
    theirs = {one.name: one.default for one in fields(request_type)}
    ours = {name: field.default for name, field in section.model_fields.items()}
    for name in ours.keys() & theirs.keys():
        assert ours[name] == others.get(name, theirs[name]), name


def test_every_option_of_an_extraction_can_be_given() -> None:
    elsewhere = {"model", "checkpoints", "layers", "poolings", "rows", "token_sample"}
    options = {one.name for one in fields(ExtractionRequest)} - elsewhere - {"lease_seconds"}
    assert set(schema.ExtractSection.model_fields) == options


def test_every_key_is_described() -> None:
    for name, field in _fields(Experiment):
        assert field.description, name


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    found = experiment_schema()["$defs"]
    yield from model.model_fields.items()
    for section in vars(schema).values():
        if (
            isinstance(section, type)
            and issubclass(section, BaseModel)
            and section.__name__ in found
        ):
            yield from section.model_fields.items()


def test_the_documentation_is_that_of_the_schema() -> None:
    """If not: make docs."""
    assert (DOCS / "experiment.md").read_text("utf-8") == experiment_page()
    assert (DOCS / "experiment.schema.json").read_text("utf-8") == schema_file()


def test_the_documentation_lists_every_key() -> None:
    page = experiment_page()
    for name, _ in _fields(Experiment):
        assert f"| `{name}` |" in page or name in schema.Resources.model_fields


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _experiment().name = "other"


def test_lists_may_be_written_as_text() -> None:
    made = _experiment(
        poolings="mean, mean_normed", checkpoints="step1*000,main", suite=None, tasks="A,B[x,y]"
    )
    assert made.poolings == ("mean", "mean_normed")
    assert made.checkpoints == ("step1*000", "main")
    assert made.tasks == ("A", "B[x,y]")
    assert made.suite_or_tasks == "A,B[x,y]"


@pytest.mark.parametrize(
    ("given", "layers"), [(3, "3"), ([0, 3, "5-7"], "0,3,5-7"), ("-4:", "-4:"), ("all", "all")]
)
def test_layers_may_be_written_as_numbers(given: object, layers: str) -> None:
    assert _experiment(layers=given).layers == layers


def test_every_model_has_its_checkpoints_and_layers() -> None:
    models = [{"model": "a"}, {"model": "b", "checkpoints": "step1", "layers": 2}]
    made = _experiment(model=None, models=models, checkpoints=["main"], layers="0-1")
    assert [(one.model, one.checkpoints, one.layers) for one in made.each_model] == [
        ("a", ("main",), "0-1"),
        ("b", ("step1",), "2"),
    ]
    assert [one.model for one in _experiment().each_model] == ["m"]


def test_stages_run_in_one_order_however_they_are_written() -> None:
    assert _experiment(stages=["report", "collect"]).ordered_stages == ("collect", "report")
    assert _experiment().ordered_stages == STAGES


def test_texts_of_a_file_are_not_scored() -> None:
    texts = {"file": "/a.txt"}
    assert _experiment(suite=None, texts=texts).ordered_stages == (*STAGES[:2], *STAGES[3:])
    assert "texts of a file have none" in _told(suite=None, texts=texts, stages=["eval"])


def test_the_report_is_beside_the_store_unless_it_is_said() -> None:
    assert _experiment(store="/x/s.zarr").report_path == Path("/x/e.html")
    assert _experiment(report={"out": "/y/r.html"}).report_path == Path("/y/r.html")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"models": [{"model": "a"}]}, "model and models: each says which models to use"),
        ({"model": None}, "model is missing. Give one of: model, models"),
        ({"tasks": ["A"]}, "suite and tasks: each says which texts to use"),
        ({"suite": None}, "suite is missing. Give one of: suite, tasks, texts"),
        ({"metrics": {"fit_lenses": ["affine"]}}, "Add `tokens: {texts: 500}`"),
        ({"poolings": ["max"]}, "evaluate.poolings: mean_normed is not among.*max"),
        ({"poolings": ["mean_normed"]}, "metrics.poolings: mean is not among"),
        ({"model": None, "models": [{"model": "a"}, {"model": "a"}]}, "a is there twice"),
    ],
)
def test_what_keys_say_together_is_checked(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _experiment(**given)


def test_poolings_that_are_in_the_store_already_need_not_be_stored_again() -> None:
    made = _experiment(poolings=["max"], stages=["eval", "metrics"])
    assert made.evaluate.poolings == ("mean_normed",)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "a b"},
        {"name": "../a"},
        {"store": ""},
        {"layers": "x"},
        {"layers": True},
        {"checkpoints": []},
        {"checkpoints": "last:0"},
        {"checkpoints": "step5:step1"},
        {"poolings": []},
        {"poolings": "median"},
        {"stages": ["train"]},
        {"tokens": {"texts": "some"}},
        {"tokens": {}},
        {"extract": {"devices": "cuda:x"}},
        {"extract": {"dtype": "int8"}},
        {"extract": {"threads": 0}},
        {"extract": {"compile": 1}},
        {"evaluate": {"transforms": "l2+l2"}},
        {"metrics": {"metrics": "entropie"}},
        {"metrics": {"against": "next"}},
        {"metrics": {"fit_lenses": "linear"}},
        {"cluster": {"stages": {"train": {}}}},
        {"cluster": {"stages": {"eval": {"time": "1 day"}}}},
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any]) -> None:
    assert "1 validation error" in _told(**given)


@pytest.mark.parametrize(
    "name",
    [
        "none",
        "l2",
        "center+l2",
        "whiten+dims4+l2",
        "mean+center",
        "l2+center",
        "dims0",
        "",
        "l2+l2",
    ],
)
def test_transforms_are_those_of_the_evaluation(name: str) -> None:
    try:
        Transform.parse("" if name == "none" else name or "?")
        known = True
    except InvalidInputError:
        known = False
    assert known == _accepts(forms.transforms, (name,))


@pytest.mark.parametrize("text", ["auto", "all", "cpu", "cpu:2", "cpu:x", "2", "cuda:a", ""])
def test_devices_are_written_as_for_the_extraction(text: str) -> None:
    try:
        worker_devices(text)
        known = True
    except InvalidInputError as error:
        known = "this machine has" in str(error)
    assert known == _accepts(forms.devices, text)


def _accepts(check: Any, value: object) -> bool:
    try:
        check(value)
    except ValueError:
        return False
    return True
