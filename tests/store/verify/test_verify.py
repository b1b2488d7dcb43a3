from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actstore.store import open_store, verify_store
from tests.support.states import MODEL, known_store


def shard(store_path: Path, index: int) -> Path:
    return store_path / "models/org__model/step1/mean_pool" / f"c.0.{index}.0"


def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    report = verify_store(store)
    assert (report.n_shards, report.problems) == (5, ())
    assert report.n_bytes == sum(p.stat().st_size for p in store.path.rglob("mean_pool/c.*"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))


def _swap(path: Path) -> None:
    path.write_bytes(path.with_name("c.0.3.0").read_bytes())


@pytest.mark.parametrize(
    ("damage", "says", "seen_quickly"),
    [
        (Path.unlink, "missing", True),
        (lambda path: path.write_bytes(b""), "0 bytes", True),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "were committed", True),
        (_flip, "crc32c", False),
        (_swap, "another shard's", False),
    ],
    ids=["missing", "empty", "cut", "one bit", "another shard in its place"],
)
def test_each_kind_of_damage_is_found_named_and_repaired(
    tmp_path: Path, damage: Callable[[Path], object], says: str, seen_quickly: bool
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    damage(shard(store.path, 1))
    assert bool(verify_store(store, quick=True).problems) == seen_quickly
    (problem,) = verify_store(store, repair=True).problems
    assert says in problem.what
    assert (problem.model, problem.checkpoint, problem.rows) == (MODEL, "step1", (64, 128))
    assert "actstore extract" in problem.command
    todo = open_store(store.url).checkpoint(MODEL, "step1").todo(store.text_rows(), ["mean"])
    assert [s.index for s in todo] == [1]


def test_a_text_table_that_no_longer_matches_the_states_is_found(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    (store.path / "texts/part-00000.parquet").unlink()
    open_store(store.url).add_texts([f"other {i}" for i in range(300)])
    problems = verify_store(open_store(store.url)).problems
    assert len(problems) == 5
    assert all("texts of its rows have changed" in problem.what for problem in problems)
