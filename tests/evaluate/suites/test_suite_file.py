"""Suites that a user writes down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate import Suite, TaskSelection, collect, resolve_suite
from actstore.store import create_store

GOOD = """
name: my suite
description: For trying out
tasks:
  - STS12
  - MassiveIntentClassification[en,de]
  - name: AmazonCounterfactualClassification
    splits: [test]
    subsets: [en, en-ext]
    average: [[test, en]]
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(content: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(content, "utf-8")
        return str(path)

    return to_file


def tasks(content: str) -> str:
    return f"name: mine\ntasks:\n{content}"


def test_a_file_defines_tasks_splits_subsets_and_what_is_averaged(write: Write) -> None:
    suite = resolve_suite(write(GOOD))
    assert (suite.name, suite.description) == ("my suite", "For trying out")
    assert [task.name for task in suite.tasks] == [
        "STS12",
        "MassiveIntentClassification",
        "AmazonCounterfactualClassification",
    ]
    assert suite.tasks[1].subsets == ("en", "de")
    assert suite.tasks[2] == TaskSelection(
        "AmazonCounterfactualClassification", ("test",), ("en", "en-ext"), (("test", "en"),)
    )


def test_what_is_left_out_is_all_that_mteb_runs(write: Write) -> None:
    suite = resolve_suite(write(tasks("  - {name: STS17}\n  - {name: STS12, splits: [test]}")))
    assert suite.description == ""
    assert suite.tasks == resolve_suite("STS17,STS12").tasks


def test_an_aggregate_in_a_file_is_its_parts(write: Write) -> None:
    suite = resolve_suite(write(tasks("  - CQADupstackRetrieval")))
    assert (len(suite.tasks), suite.n_scores) == (12, 1)


def test_a_collected_suite_needs_its_file_no_more(write: Write, tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    path = write(tasks("  - {name: STS17, subsets: [en-en, en-de], average: [[test, en-de]]}"))
    suite = resolve_suite(path)
    assert collect(store, path).suite == "mine"
    Path(path).unlink()
    assert resolve_suite("mine", store) == suite
    assert Suite.from_json(store.suite("mine")) == suite


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\ntask: [STS12]", "mine.yaml: There is no key 'task'. Did you mean 'tasks'"),
        (tasks("  - {name: STS12, subset: [a]}"), "task 1: .*'subset'. Did you mean 'subsets'"),
        (tasks("  - STS12\n  - STS99"), "mine.yaml, task 2: There is no task 'STS99'.*'STS"),
        (tasks("  - STS17[en-eng]"), "task 1: .*no subset of STS17 'en-eng'. Did you mean 'en-en'"),
        (tasks("  - {name: STS12, splits: [tests]}"), r"1 \(STS12\): .*split .*'tests'.*'test'"),
        (
            tasks("  - {name: STS17, subsets: [en-en], average: [[test, en-de]]}"),
            r"\(STS17\), average: .*subset of this task 'en-de'.*Add it to `subsets`",
        ),
        (
            tasks("  - {name: STS12, splits: [test], average: [[train, default]]}"),
            r"\(STS12\), average: .*split of this task 'train'",
        ),
    ],
)
def test_an_unknown_word_gets_the_nearest_and_its_place(
    write: Write, content: str, message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        resolve_suite(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must be a mapping with the keys name, description, tasks"),
        ("- STS12", "must be a mapping"),
        ("name: [a", "mine.yaml is no YAML file.*line"),
        ("name: a\nname: b\ntasks: [STS12]", "the key 'name' is there twice"),
        ("tasks: [STS12]", "mine.yaml, name is missing"),
        ("name: mine", "mine.yaml, tasks must be a list of one or more, not nothing"),
        ("name: mine\ntasks: []", r"tasks must be a list of one or more, not \[\]"),
        ("name: mine\ntasks: STS12", "tasks must be a list of one or more, not 'STS12'"),
        (tasks("  - 12"), "task 1 must be text, not 12"),
        (tasks("  - {splits: [test]}"), "task 1, name is missing"),
        (tasks("  - {name: STS12, splits: []}"), "splits must be a list of one or more"),
        (tasks("  - {name: STS17, subsets: [no]}"), "subsets must be text, not False.*in quotes"),
        (tasks("  - {name: STS12, splits: [test, test]}"), "splits: test is there twice"),
        (tasks("  - {name: STS12, average: [test]}"), "average must be a list"),
        (tasks("  - {name: STS12, average: [[test]]}"), "pairs of a split and a subset"),
        (
            tasks("  - {name: STS12, average: [[test, default], [test, default]]}"),
            r"average: \[test, default\] is there twice",
        ),
        (tasks("  - STS12\n  - {name: STS12}"), "mine.yaml, tasks: STS12 is there twice"),
        (tasks("  - VOC2007"), "task 1: VOC2007 is made of image"),
        (
            tasks("  - {name: CQADupstackRetrieval}"),
            r"\(CQADupstackRetrieval\): .*mean of 12 tasks",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_place(
    write: Write, content: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        resolve_suite(write(content))


@pytest.mark.parametrize("name", ["layer-by-layer", "MTEB(eng)", "STS12"])
def test_a_name_that_is_taken_is_refused(write: Write, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"already. Choose another name.*my-"):
        resolve_suite(write(f"name: {name}\ntasks: [STS12]"))


@pytest.mark.parametrize("name", ["a,b", "a[b]", "mine.yaml", " a", '"a\\nb"', '" "', "a" * 121])
def test_a_name_that_would_be_taken_for_something_else_is_refused(write: Write, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be a suite's name"):
        resolve_suite(
            write(f"name: '{name}'\ntasks: [STS12]" if '"' not in name else f"name: {name}")
        )


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no suite file .*none\.yml.*actstore suites"):
        resolve_suite(str(tmp_path / "none.yml"))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff")
    with pytest.raises(InvalidInputError, match="is no YAML file"):
        resolve_suite(str(binary))
