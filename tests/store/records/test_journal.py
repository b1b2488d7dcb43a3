from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from actstore.errors import CorruptShardError
from actstore.store.records.journal import append_records, read_records
from actstore.store.storage import LocalStorage


def _write(root: Path, who: int) -> None:
    for i in range(50):
        append_records(LocalStorage(root), "j", [{"who": who, "i": i}])


def test_records_come_back_oldest_first(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    append_records(storage, "j", [{"n": 1}, {"n": 2}])
    append_records(storage, "j", [{"n": 3}])
    assert [record["n"] for record in read_records(storage, "j")] == [1, 2, 3]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(tmp_path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    records = read_records(LocalStorage(tmp_path), "j")
    assert sorted((r["who"], r["i"]) for r in records) == [
        (w, i) for w in range(3) for i in range(50)
    ]
    assert len(list((tmp_path / "j").iterdir())) == 3


def test_a_line_torn_by_a_kill_is_no_record(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    append_records(storage, "j", [{"n": 1}])
    (journal,) = (tmp_path / "j").iterdir()
    journal.write_bytes(journal.read_bytes() + b'{"at": 2.0, "n"')
    assert [record["n"] for record in read_records(storage, "j")] == [1]


def test_damage_inside_a_journal_is_an_error(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    append_records(storage, "j", [{"n": 1}, {"n": 2}])
    (journal,) = (tmp_path / "j").iterdir()
    journal.write_bytes(b"\0\0\0\0" + journal.read_bytes()[4:])
    with pytest.raises(CorruptShardError, match=journal.name):
        read_records(storage, "j")
