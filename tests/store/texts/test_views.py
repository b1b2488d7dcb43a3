"""View sets: which texts are views of which others, whatever happens meanwhile."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from actstore.errors import (
    InvalidInputError,
    InvalidTextError,
    PlanMismatchError,
    UnknownNameError,
    UnknownTextError,
)
from actstore.store import Store, create_store, open_store
from actstore.store.storage import LocalStorage

MADE = {"seed": 0, "augmenter": "shout"}
SOURCES = ["one", "two", "three"]
VIEWS = [["One", "ONE"], ["Two", "two"], ["Two", "three!"]]
"""The first view of the second and third text is the same, and the second is its own view."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = create_store(tmp_path / "s.zarr")
    made.add_texts([*SOURCES, "ONE"])
    return made


def freeze_task(store: Store, name: str, texts: list[str]) -> None:
    rows = store.add_texts(texts)
    calls = pa.table({"split": ["test"], "subset": [""], "prompt_type": [""], "rows": [rows]})
    store.write_task(name, {}, calls, {})


def test_a_view_set_says_whose_views_its_rows_are(store: Store) -> None:
    store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    found = open_store(store.url).view_set("shouted")
    assert store.views() == ["shouted"]
    assert found.name == "shouted"
    assert found.source_rows.tolist() == [0, 1, 2]
    assert found.rows.tolist() == [[4096, 3], [4097, 1], [4097, 4098]]
    assert found.n_views == 2
    assert {name: found.attributes[name] for name in MADE} == MADE
    assert [store.read_texts(rows) for rows in found.rows] == VIEWS


def test_views_are_texts_of_the_store_with_their_source_beside_them(store: Store) -> None:
    store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    table = store.texts(views="shouted")
    assert list(table.columns) == ["row", "text", "n_bytes", "source_row", "view"]
    assert table["text"].tolist() == ["One", "ONE", "Two", "two", "Two", "three!"]
    assert table["row"].tolist() == [4096, 3, 4097, 1, 4097, 4098]
    assert table["n_bytes"].tolist() == [3, 3, 3, 3, 3, 6]
    assert table["source_row"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["view"].tolist() == [0, 1, 0, 1, 0, 1]
    assert store.text_rows().tolist() == [0, 1, 2, 3, 4096, 4097, 4098]


def test_sources_may_be_given_in_any_order(store: Store) -> None:
    found = store.add_views("shouted", np.array([2, 0]), [["THREE"], ["ONE"]])
    assert found.source_rows.tolist() == [2, 0]
    assert store.texts(views="shouted")["source_row"].tolist() == [2, 0]


def test_source_rows_are_all_texts_but_those_that_came_as_views(store: Store) -> None:
    assert store.source_rows().tolist() == [0, 1, 2, 3]
    found = store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    assert found.new_rows.tolist() == [4096, 4097, 4098]
    assert store.source_rows().tolist() == [0, 1, 2, 3]
    store.add_texts(["four"])
    assert store.source_rows().tolist() == [0, 1, 2, 3, 8192]
    store.add_views("again", [0], [["One", "One!"]])
    assert store.view_set("again").new_rows.tolist() == [12288]
    assert store.source_rows().tolist() == [0, 1, 2, 3, 8192]


def test_a_view_that_a_task_uses_is_a_source(store: Store) -> None:
    freeze_task(store, "Before", ["ONE"])
    store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    freeze_task(store, "After", ["Two", "five"])
    assert store.source_rows().tolist() == [0, 1, 2, 3, 4097, 8192]


def test_the_same_views_again_change_nothing(store: Store) -> None:
    first = store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    before = {path: path.read_bytes() for path in (store.path / "views").iterdir()}
    again = open_store(store.url).add_views("shouted", [0, 1, 2], VIEWS, MADE)
    np.testing.assert_array_equal(again.new_rows, first.new_rows)
    assert {path: path.read_bytes() for path in (store.path / "views").iterdir()} == before


@pytest.mark.parametrize(
    ("rows", "texts", "made", "said"),
    [
        ([0, 1, 2], VIEWS, {"seed": 1}, "seed: the store has 0, asked is 1"),
        ([0, 1], VIEWS[:2], MADE, "n_texts: the store has 3, asked is 2"),
        ([0, 1, 2], [["a", "b"]] * 3, MADE, "content: "),
        ([2, 1, 0], VIEWS, MADE, "content: "),
    ],
)
def test_other_views_of_the_same_name_are_refused(
    store: Store, rows: list[int], texts: list[list[str]], made: dict[str, Any], said: str
) -> None:
    store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    n_texts = len(store.text_rows())
    with pytest.raises(PlanMismatchError, match=f"'shouted'.*{said}.*another name"):
        store.add_views("shouted", rows, texts, made)
    assert len(store.text_rows()) == n_texts


class KilledError(Exception):
    pass


def test_a_killed_run_leaves_views_that_the_next_still_knows_to_be_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LocalStorage.create

    def killed(self: LocalStorage, key: str, data: Any) -> None:
        if key == "views/shouted.parquet":
            raise KilledError
        create(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "create", killed)
        with pytest.raises(KilledError):
            store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    assert store.views() == []
    with pytest.raises(PlanMismatchError, match="seed: the store has 0, asked is 1"):
        store.add_views("shouted", [0, 1, 2], VIEWS, {"seed": 1, "augmenter": "shout"})
    found = store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    assert found.new_rows.tolist() == [4096, 4097, 4098]
    assert store.source_rows().tolist() == [0, 1, 2, 3]
    assert [path.name for path in (store.path / "views").glob("shouted*")] == ["shouted.parquet"]


def test_a_name_may_hold_anything(store: Store) -> None:
    for name in ("a/b c", "ü", "%2F", ".hidden"):
        store.add_views(name, [0], [[f"view {name}"]])
        assert store.view_set(name).name == name
    assert store.views() == sorted(["a/b c", "ü", "%2F", ".hidden"])


def test_an_unknown_view_set_names_the_nearest_and_how_to_add_one(store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"none yet.*actstore views .* --name default"):
        store.view_set("default")
    store.add_views("default", [0], [["ONE"]])
    with pytest.raises(UnknownNameError, match="'default'"):
        store.texts(views="defualt")


def test_what_makes_no_view_set_is_refused_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(UnknownTextError):
        store.add_views("bad", [99], [["x"]])
    for rows, texts in (([0, 1], [["x"]]), ([0, 1], [["x"], ["y", "z"]]), ([], []), ([0], [[]])):
        with pytest.raises(InvalidInputError, match="same number of views of every text"):
            store.add_views("bad", rows, texts)
    with pytest.raises(InvalidInputError, match="given twice"):
        store.add_views("bad", [0, 0], [["x"], ["y"]])
    with pytest.raises(InvalidTextError):
        store.add_views("bad", [0], [["x", ""]])
    with pytest.raises(InvalidInputError, match="not both"):
        store.texts("Task", views="bad")
    assert store.views() == []
    assert store.text_rows().tolist() == [0, 1, 2, 3]
    assert not (store.path / "views").exists()


def test_any_reader_finds_the_table_and_no_stray_folder(store: Store) -> None:
    store.add_views("shouted", [0, 1, 2], VIEWS, MADE)
    table = pq.read_table(store.path / "views" / "shouted.parquet")
    assert {f.name: str(f.type) for f in table.schema} == {
        "row": "int64",
        "source_row": "int64",
        "view": "int32",
        "new": "bool",
    }
    assert table["new"].to_pylist() == [True, False, True, False, True, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "views" in dict(zarr.open_group(store.path, mode="r").groups())
