from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from actstore.errors import CorruptShardError
from actstore.store import create_store
from actstore.store.records.journal import append_records, read_fields
from actstore.store.storage import LocalStorage
from actstore.store.texts.table import TextTable

FIELDS = pa.schema({"at": pa.float64(), "n": pa.int64(), "name": pa.string()})


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def test_only_the_fields_asked_for_are_read(storage: LocalStorage) -> None:
    assert read_fields(storage, "j", FIELDS).num_rows == 0
    append_records(storage, "j", [{"n": 1, "name": "ä\n", "other": {"deep": [float("nan")]}}])
    storage.append("j/another.jsonl", b'{"at": 5, "n": 2}\n')
    table = read_fields(storage, "j", FIELDS).sort_by("n")
    assert table.column_names == ["at", "n", "name"]
    assert table.select(["n", "name"]).to_pylist() == [
        {"n": 1, "name": "ä\n"},
        {"n": 2, "name": None},
    ]


def test_a_torn_last_line_is_no_record(storage: LocalStorage) -> None:
    storage.append("j/a.jsonl", b'{"at": 1, "n": 1}\n{"at": 2, "n"')
    storage.append("j/b.jsonl", b'{"at"')
    assert read_fields(storage, "j", FIELDS)["n"].to_pylist() == [1]


def test_a_damaged_journal_is_named(storage: LocalStorage) -> None:
    storage.append("j/good.jsonl", b'{"at": 1, "n": 1}\n')
    storage.append("j/bad.jsonl", b'{"at": 1, "n": \x00\x00\n{"at": 2, "n": 2}\n')
    with pytest.raises(CorruptShardError, match=r"j/bad\.jsonl is damaged.*Restore it"):
        read_fields(storage, "j", FIELDS)


def test_spans_of_texts_are_the_rows_that_hold_one(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    assert store.text_spans() == []
    store.add_texts([f"text {i}" for i in range(5000)])
    store.add_texts(["one more", "and another"])
    spans = store.text_spans()
    rows = [row for first, end in spans for row in range(first, end)]
    assert rows == store.text_rows().tolist() == TextTable(store.storage).rows().tolist()
    assert len(spans) == 2
