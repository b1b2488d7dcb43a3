"""Tables: data sets whose columns are plain lists."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from actstore.evaluate.fast.tables import Table, as_table, map_leaves

FEATURES = Features(
    {
        "text": Value("string"),
        "label": ClassLabel(names=["no", "yes"]),
        "tags": List(Value("int64")),
        "score": Value("float32"),
    }
)
ROWS = {
    "text": ["a", "b", "c", "d"],
    "label": [0, 1, 1, 0],
    "tags": [[1], [], [2, 3], [4]],
    "score": [0.1, 0.2, 0.3, 0.4],
}


@pytest.fixture
def data() -> Dataset:
    return Dataset.from_dict(ROWS, FEATURES)


@pytest.mark.parametrize("name", ROWS)
def test_a_column_is_a_list_of_what_the_lazy_column_has(data: Dataset, name: str) -> None:
    column = as_table(data)[name]
    assert type(column) is list
    assert column == list(data[name])


def test_a_column_is_decoded_once(data: Dataset) -> None:
    table = as_table(data)
    assert table["text"] is table["text"]


def test_rows_and_features_are_those_of_the_data_set(data: Dataset) -> None:
    table = as_table(data)
    assert table[1] == data[1]
    assert table[1:3] == data[1:3]
    assert [*table] == [*data]
    assert table.features == data.features


@pytest.mark.parametrize("rows", [[2, 0, 2], range(1, 3), np.array([3, 1]), [], iter([1, 2]), (0,)])
def test_selecting_rows_is_as_in_datasets(data: Dataset, rows: Any) -> None:
    mine, theirs = copy.copy(rows), rows
    selected = as_table(data).select(mine)
    assert selected.to_list() == data.select(theirs).to_list()
    assert selected.features == data.features


def test_selected_rows_are_a_table(data: Dataset) -> None:
    assert type(as_table(data).select([1])["text"]) is list


@pytest.mark.parametrize("row", [4, -1])
def test_a_row_that_is_not_there_is_an_error(data: Dataset, row: int) -> None:
    with pytest.raises((IndexError, OverflowError)):
        as_table(data).select([row])


def test_selected_columns_are_the_same_table_every_time(data: Dataset) -> None:
    table = as_table(data)
    some = table.select_columns(["label", "text"])
    assert some is table.select_columns(["label", "text"])
    assert sorted(some.column_names) == ["label", "text"]
    assert some.features["label"] == FEATURES["label"]


def test_a_column_that_is_not_there_is_an_error(data: Dataset) -> None:
    with pytest.raises(ValueError, match="nothing"):
        as_table(data).select_columns("nothing")


def test_renamed_columns_do_not_show_old_values(data: Dataset) -> None:
    table = as_table(data).select_columns(["text", "label"])
    assert table["text"] == ROWS["text"]
    renamed = table.rename_columns({"text": "label", "label": "text"})
    assert list(renamed["text"]) == ROWS["label"]


def test_mapped_and_added_columns_are_as_in_datasets(data: Dataset) -> None:
    table = as_table(data)
    mapped = table.map(lambda row: {"text": row["text"] * 2})
    assert list(mapped["text"]) == ["aa", "bb", "cc", "dd"]
    assert list(table.add_column("n", [1, 2, 3, 4])["n"]) == [1, 2, 3, 4]
    assert table.remove_columns("tags").column_names == ["text", "label", "score"]


def test_a_table_of_picked_rows_has_these_rows(data: Dataset) -> None:
    assert Table.of(data.select([3, 0]))["text"] == ["d", "a"]


def test_a_formatted_data_set_stays_as_it_is(data: Dataset) -> None:
    formatted = data.with_format("numpy")
    assert as_table(formatted) is formatted
    assert isinstance(as_table(data).with_format("numpy")["label"], np.ndarray | object)


def test_what_was_worked_out_is_kept_with_the_table(data: Dataset) -> None:
    table, calls = as_table(data), []
    for _ in range(2):
        assert table.once("key", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1
    assert copy.deepcopy(table).once("key", lambda: 8) == 8


def test_data_sets_are_found_in_nested_dicts(data: Dataset) -> None:
    nested = {"en": DatasetDict(test=data), "rows": [{"a": 1}]}
    mapped = map_leaves(nested, as_table)
    assert isinstance(mapped["en"], DatasetDict)
    assert isinstance(mapped["en"]["test"], Table)
    assert mapped["rows"] == [{"a": 1}]
