"""Which texts a token-level sample is of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actstore.errors import InvalidInputError, UnknownNameError, UnknownTextError
from actstore.extract.sampling import choose_token_sample
from actstore.store import Store, create_store

TASKS = {
    "A": [f"text {i}" for i in range(40)],
    "B": [f"text {i}" for i in range(30, 90)],  # ten of them are A's too
    "C": [f"another {i}" for i in range(8)],
}


def store_of_tasks(path: Path, names: Sequence[str]) -> Store:
    """A store into which tasks were collected one after the other."""
    store = create_store(path)
    for name in names:
        rows = store.add_texts(TASKS[name]).tolist()
        rows = [*reversed(rows), *rows[:3]]  # tasks repeat texts, in any order
        calls = {"split": ["test"], "subset": ["default"], "prompt_type": [""]}
        table = pa.table({**calls, "rows": pa.array([rows], pa.list_(pa.int64()))})
        store.write_task(name, {}, table, {})
    store.write_suite("letters", {"tasks": [{"name": name} for name in names]})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of_tasks(tmp_path / "s.zarr", "ABC")


def texts_of(store: Store, selection: str, **options: object) -> set[str]:
    chosen = choose_token_sample(store, selection, **options)
    assert chosen is not None
    assert np.array_equal(chosen.rows, np.unique(chosen.rows))
    return set(store.read_texts(chosen.rows))


def test_all_is_every_text_or_every_one_of_some_rows(store: Store) -> None:
    assert len(texts_of(store, "all")) == 98
    assert texts_of(store, "all", rows=[3, 1, 3]) == {"text 1", "text 3"}


def test_a_number_is_so_many_of_the_rows(store: Store) -> None:
    assert len(texts_of(store, "20")) == 20
    among = store.task("B").rows()
    assert len(texts_of(store, "20", rows=among) & set(TASKS["B"])) == 20


def test_a_number_a_task_is_so_many_of_each(store: Store) -> None:
    chosen = texts_of(store, "5/task")
    assert all(len(chosen & set(texts)) >= 5 for texts in TASKS.values())
    assert len(chosen) <= 15
    assert texts_of(store, "5/task", suite="letters") == chosen
    assert texts_of(store, "5/task", suite="A, C") == (
        texts_of(store, "5/task", suite="A") | texts_of(store, "5/task", suite="C")
    )


def test_only_texts_that_are_extracted_are_drawn(store: Store) -> None:
    rows = store.rows_of(TASKS["A"][:10] + TASKS["C"])
    assert texts_of(store, "6/task", rows=rows, suite="A,C") <= {*TASKS["A"][:10], *TASKS["C"]}


def test_the_seed_decides(store: Store) -> None:
    assert texts_of(store, "20", seed=1) == texts_of(store, "20", seed=1)
    assert len({frozenset(texts_of(store, "20", seed=seed)) for seed in (0, 1, 2, -1)}) == 4


def test_neither_the_order_of_tasks_nor_other_tasks_change_a_choice(tmp_path: Path) -> None:
    one, other, alone = (
        store_of_tasks(tmp_path / f"{names}.zarr", names) for names in ("ABC", "CBA", "B")
    )
    assert texts_of(one, "20") == texts_of(other, "20")
    assert texts_of(one, "7/task") == texts_of(other, "7/task")
    assert texts_of(alone, "7/task") == texts_of(one, "7/task", suite="B")
    assert texts_of(alone, "7/task") <= texts_of(one, "7/task")


def test_a_larger_sample_holds_the_smaller_one(store: Store) -> None:
    assert texts_of(store, "10") < texts_of(store, "11") < texts_of(store, "60")
    assert texts_of(store, "2/task") < texts_of(store, "7/task")


def test_every_text_is_as_likely_as_any_other(store: Store) -> None:
    drawn = [text for seed in range(100) for text in texts_of(store, "49", seed=seed)]
    times = np.array([drawn.count(text) for text in store.read_texts(store.text_rows())])
    assert times.sum() == 100 * 49
    assert abs(times - 50).max() < 5 * 5  # each is binomial: 50 ± 5


def test_fewer_texts_than_asked_for_are_all_taken_and_said(store: Store) -> None:
    with pytest.warns(UserWarning, match="all 98 texts: 1,000 were asked for"):
        assert len(texts_of(store, "1000")) == 98
    said: list[str] = []
    chosen = texts_of(store, "30/task", say=said.append)
    assert set(TASKS["C"]) < chosen
    assert said == ["The token sample takes all texts of C (8): 30 of each task were asked for."]


@pytest.mark.parametrize("selection", ["0", "0/task"])
def test_no_texts_are_no_sample(store: Store, selection: str) -> None:
    assert choose_token_sample(store, selection) is None


def test_texts_of_a_file_are_added_to_the_store(store: Store, tmp_path: Path) -> None:
    lines = [{"text": "new one"}, {"text": "text 5"}, {"text": "new one"}]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    chosen = choose_token_sample(store, str(file), rows=[1], name="mine")
    assert chosen is not None
    assert chosen.name == "mine"
    assert store.read_texts(chosen.rows) == ["text 5", "new one"]
    table = tmp_path / "table.csv"
    table.write_text("sentence\nother\n")
    assert texts_of(store, str(table), column="sentence") == {"other"}


@pytest.mark.parametrize("wrong", ["some", "-5", "20/tasks", "1,000", "", "20/"])
def test_what_cannot_be_read_is_answered_with_the_forms(store: Store, wrong: str) -> None:
    forms = r"--tokens all, --tokens 200 .*--tokens 20/task, or --tokens texts\.jsonl"
    with pytest.raises(InvalidInputError, match=forms):
        choose_token_sample(store, wrong)


def test_what_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="There is no file absent.jsonl"):
        choose_token_sample(store, "absent.jsonl")
    with pytest.raises(UnknownNameError, match="no task in this store 'D'"):
        choose_token_sample(store, "5/task", suite="D")
    with pytest.raises(UnknownTextError, match="9999"):
        choose_token_sample(store, "5", rows=[9999])
    bare = create_store(tmp_path / "bare.zarr")
    bare.add_texts(["a text"])
    with pytest.raises(InvalidInputError, match="no tasks.*actstore collect .*--tokens 200"):
        choose_token_sample(bare, "5/task")
