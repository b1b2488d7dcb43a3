from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.errors import CorruptShardError, InvalidTextError, UnknownTextError
from actstore.store import Store, create_store, open_store
from actstore.store.texts.table import TextTable, hash_texts


def test_equal_texts_share_a_row_and_keep_the_order_of_first_use(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts(["b", "a", "b", "c", "a"])
    assert rows.tolist() == [0, 1, 0, 2, 1]
    assert store.texts()["text"].tolist() == ["b", "a", "c"]
    assert store.texts()["n_bytes"].tolist() == [1, 1, 1]


def test_new_texts_start_a_part_at_a_shard_boundary_and_old_rows_stay(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    first = store.add_texts(["x", "y"])
    second = store.add_texts(["y", "z"])
    assert first.tolist() == [0, 1]
    assert second.tolist() == [1, 4096]
    assert store.text_rows().tolist() == [0, 1, 4096]
    assert open_store(store.url).rows_of(["z", "x"]).tolist() == [4096, 0]


def test_a_store_opened_before_sees_texts_added_by_another(tmp_path: Path) -> None:
    early = create_store(tmp_path / "s.zarr")
    early.add_texts(["x"])
    open_store(early.url).add_texts(["y"])
    assert early.rows_of(["y"]).tolist() == [4096]


def test_texts_come_back_exactly(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    texts = [" leading", "trailing ", "tab\tand\nnewline", "Ünïcödé 🙂", "\u2028", "a" * 10_000]
    rows = store.add_texts(texts)
    assert store.read_texts(rows[::-1]) == texts[::-1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=30))
def test_rows_of_finds_what_add_gave(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    store = create_store(tmp_path_factory.mktemp("texts") / "s.zarr")
    rows = store.add_texts(texts)
    np.testing.assert_array_equal(store.rows_of(texts), rows)
    assert store.read_texts(rows) == texts


def test_the_hash_is_blake2b_of_the_utf8() -> None:
    digest = hashlib.blake2b("é".encode(), digest_size=16).digest()
    (hashed,) = hash_texts(["é"])
    assert int(hashed["high"]) == int.from_bytes(digest[:8], "big")
    assert int(hashed["low"]) == int.from_bytes(digest[8:], "big")


def test_a_text_that_was_never_added_is_named_with_the_command_to_add_it(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["x"])
    with pytest.raises(UnknownTextError, match=r"1 of 2 texts.*'nowhere'.*actstore collect"):
        store.rows_of(["x", "nowhere"])
    with pytest.raises(UnknownTextError, match="row"):
        store.read_texts([5])


@pytest.mark.parametrize(("text", "says"), [("", "empty"), ("\ud800", "Unicode")])
def test_texts_no_tokenizer_takes_are_refused_and_nothing_is_added(
    tmp_path: Path, text: str, says: str
) -> None:
    store = create_store(tmp_path / "s.zarr")
    with pytest.raises(InvalidTextError, match=says):
        store.add_texts(["fine", text])
    assert len(store.texts()) == 0


def test_texts_are_read_across_parts_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actstore.store.texts.table._ROW_GROUP", 3)
    store = create_store(tmp_path / "s.zarr")
    texts = [f"text {i}" for i in range(20)]
    rows = np.concatenate([store.add_texts(texts[:10]), store.add_texts(texts[10:])])
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 2))
    assert store.read_texts(rows[order]) == [texts[i] for i in order]
    assert store.read_texts([]) == []


def test_threads_that_share_a_store_see_all_texts_or_wait(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts([f"text {i}" for i in range(2000)])
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            fresh = open_store(store.url)
            found = list(pool.map(lambda _, s=fresh: len(s.text_rows()), range(8)))
            assert found == [len(rows)] * 8


def part(store: Store, number: int = 0) -> Path:
    return store.path / "texts" / f"part-{number:05d}.parquet"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["bit", "cut", "deleted"])
def test_a_damaged_part_is_found_and_never_read(
    tmp_path: Path, harm: Callable[[Path], object], recorded: bool
) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts([f"text {i}" for i in range(50)])
    store.add_texts(["behind it"])
    if not recorded:
        shutil.rmtree(store.path / "texts" / "ledger")
    harm(part(store))
    damage = [*TextTable(store.storage).damage(quick=False)]
    assert [one.key for one in damage] == ["texts/part-00000.parquet"]
    assert not damage[0].remade
    for read in (
        lambda s: s.read_texts(rows),
        lambda s: s.texts(),
        lambda s: s.rows_of(["text 3"]),
        lambda s: s.add_texts(["another"]),
    ):
        with pytest.raises(CorruptShardError, match=r"texts/part-00000.parquet .* from a copy"):
            read(open_store(store.url))


def test_parts_that_changed_places_are_found(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["one"])
    store.add_texts(["two"])
    first, second = part(store).read_bytes(), part(store, 1).read_bytes()
    part(store).write_bytes(second)
    part(store, 1).write_bytes(first)
    keys = {one.key for one in TextTable(store.storage).damage(quick=False)}
    assert keys == {"texts/part-00000.parquet", "texts/part-00001.parquet"}
    with pytest.raises(CorruptShardError, match="part-0000"):
        open_store(store.url).read_texts([0])


def test_a_part_of_another_store_is_not_taken_for_ours(tmp_path: Path) -> None:
    store, other = (create_store(tmp_path / name) for name in ("s.zarr", "o.zarr"))
    store.add_texts(["one"])
    other.add_texts(["two"])
    shutil.copy(part(other), part(store))
    assert len([*TextTable(store.storage).damage(quick=False)]) == 1
    with pytest.raises(CorruptShardError, match="part-00000"):
        open_store(store.url).read_texts([0])


def test_a_part_whose_writer_died_is_read_and_recorded_by_the_next(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["one", "two"])
    ledger = store.path / "texts" / "ledger"
    shutil.rmtree(ledger)
    again = open_store(store.url)
    assert again.read_texts([1]) == ["two"]
    assert again.add_texts(["two"]).tolist() == [1]
    assert not ledger.exists()
    again.add_texts(["three"])
    lines = [
        json.loads(line) for file in ledger.iterdir() for line in file.read_text().splitlines()
    ]
    assert {line["part"] for line in lines} == {"part-00000.parquet", "part-00001.parquet"}
    assert {line["text_bytes"] for line in lines} == {5, 6}


def test_rows_and_bytes_are_known_without_looking_into_a_part(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["one", "twö"])
    part(store).write_bytes(b"")
    again = open_store(store.url)
    assert (again.text_rows().tolist(), again.text_bytes()) == ([0, 1], 7)
