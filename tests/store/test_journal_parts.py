"""Journals where every append writes the whole object anew."""

from __future__ import annotations

import uuid

import pytest

from actstore.store.records import journal
from actstore.store.records.journal import append_records, read_records
from actstore.store.storage import open_storage


def test_a_journal_that_grows_goes_on_in_another_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PART_BYTES", 1000)
    storage = open_storage(f"memory://{uuid.uuid4().hex}")
    for number in range(50):
        append_records(storage, "j", [{"number": number}])
    assert [one["number"] for one in read_records(storage, "j")] == list(range(50))
    sizes = [one.size for one in storage.objects("j")]
    assert len(sizes) >= 3
    assert max(sizes) < 1100


def test_two_stores_have_journals_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PART_BYTES", 100)
    stores = [open_storage(f"memory://{uuid.uuid4().hex}") for _ in range(2)]
    for number in range(10):
        for storage in stores:
            append_records(storage, "j", [{"number": number}])
    for storage in stores:
        assert [one["number"] for one in read_records(storage, "j")] == list(range(10))
