"""What is typed for a task, and for several."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate import collect, resolve_suite
from actstore.evaluate.suites.task_lists import NamedTask, parse_task, split_tasks
from actstore.store import create_store

NAMES = st.from_regex(r"[A-Za-z0-9.\-]+( [A-Za-z0-9]+)?", fullmatch=True)
TYPED = st.builds(NamedTask, NAMES, st.lists(NAMES, unique=True).map(tuple))


@given(st.lists(TYPED, min_size=1))
def test_a_list_is_read_as_it_is_written(tasks: list[NamedTask]) -> None:
    for comma in (",", ", ", " ,, "):
        typed = split_tasks(comma.join(map(str, tasks)))
        assert [parse_task(one) for one in typed] == tasks


def test_brackets_choose_subsets() -> None:
    suite = resolve_suite("STS12, STS17[en-en], MassiveIntentClassification[en, de]")
    assert [task.subsets for task in suite.tasks] == [("default",), ("en-en",), ("en", "de")]
    assert suite.tasks[2].averaged == (
        ("validation", "en"),
        ("validation", "de"),
        ("test", "en"),
        ("test", "de"),
    )
    assert suite.name == "STS12,STS17[en-en],MassiveIntentClassification[en,de]"
    assert resolve_suite(["STS12", "STS17[en-en]", "MassiveIntentClassification[en,de]"]) == suite


@pytest.mark.parametrize("typed", ["STS17[", "STS17[]", "STS17[en-en,]", "[en-en]", "STS17[a]b"])
def test_brackets_that_cannot_be_read_are_said_so(typed: str) -> None:
    with pytest.raises(InvalidInputError, match=r"Cannot read the task.*STS17\[en-en\]"):
        resolve_suite(typed)


def test_an_unknown_subset_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"subset of STS17 'en-ennn'. Did you mean 'en-en'"):
        resolve_suite("STS17[en-ennn]")


def test_an_aggregate_is_its_parts() -> None:
    suite = resolve_suite("STS12,CQADupstackRetrieval")
    assert (len(suite.tasks), suite.n_scores) == (13, 2)
    assert suite.name == "STS12,CQADupstackRetrieval"
    assert {task.part_of for task in suite.tasks[1:]} == {"CQADupstackRetrieval"}
    with pytest.raises(InvalidInputError, match="mean of 12 tasks"):
        resolve_suite("CQADupstackRetrieval[default]")


@pytest.mark.parametrize(
    "typed",
    [
        "STS17[en-en],STS17[en-de]",
        "STS17[en-en],STS17",
        "CQADupstackRetrieval,CQADupstackAndroidRetrieval",
    ],
)
def test_a_task_that_is_there_twice_with_other_data_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInputError, match="in the list twice"):
        resolve_suite(typed)


def test_no_tasks_are_no_suite() -> None:
    for nothing in ("", ",", [], [""]):
        with pytest.raises((UnknownNameError, InvalidInputError)):
            resolve_suite(nothing)


def test_what_a_store_has_of_a_task_is_narrowed(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    collect(store, "STS17[en-en,en-de]")
    assert resolve_suite("STS17", store).tasks[0].subsets == ("en-en", "en-de")
    assert resolve_suite("STS17[en-de]", store).tasks[0].averaged == (("test", "en-de"),)
    assert resolve_suite("STS17[en-en,en-de]", store).tasks[0].subsets == ("en-en", "en-de")
