"""The store's benchmarks with the clock off: the cases they compare do the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import store as bench_store
from benchmarks.peers import storage as peers
from benchmarks.peers.environment import PeerFailedError
from benchmarks.store import FLOOR, STORE, Bench
from benchmarks.store_data import Sizes, runs_of

SIZES = Sizes(layers=3, texts=600, hidden=16, task=100)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench_store.build(tmp_path_factory.mktemp("bench"), SIZES)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_reading_a_layer_gives_what_the_floor_reads(bench: Bench, dtype: str) -> None:
    cases = bench_store.layer_cases(bench, dtype)
    read, floor = cases[STORE](), cases[FLOOR]().view(np.float16)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.ravel(), floor)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("which", ["in_order", "scattered"])
def test_reading_rows_gives_what_the_memory_map_has(bench: Bench, which: str, dtype: str) -> None:
    rows = getattr(bench.data, which)()
    found = {name: run() for name, run in bench_store.rows_cases(bench, rows, dtype).items()}
    assert {one.dtype for one in found.values()} == {np.dtype(dtype)}
    np.testing.assert_array_equal(found[STORE], found[FLOOR])


def test_scattered_rows_are_four_runs_and_strays(bench: Bench) -> None:
    rows = bench.data.scattered()
    lengths = [run.stop - run.start for run in runs_of(rows)]
    assert len(rows) == SIZES.task
    assert sum(length >= 24 for length in lengths) == 4
    assert len(lengths) > 4


@pytest.mark.parametrize("from_states", [False, True])
def test_the_shard_that_is_written_has_the_bytes_of_the_floor(
    bench: Bench, from_states: bool
) -> None:
    for run in bench_store.writing_cases(bench, from_states=from_states).values():
        run()
    written = [path.read_bytes() for path in (bench.data.folder / "written").iterdir()]
    bench.data.remove_written()
    assert len(written) == 2
    assert written[0] == written[1]


@pytest.mark.parametrize("cold", [False, True])
def test_checking_reads_what_its_floor_reads(bench: Bench, cold: bool) -> None:
    for run in bench_store.verifying_cases(bench, cold=cold).values():
        run()


def test_files_are_those_of_a_checkpoint_with_all_its_shards(bench: Bench, tmp_path: Path) -> None:
    group = [path for path in bench.data.array.parent.rglob("*") if path.is_file()]
    assert bench_store.count_files(tmp_path / "files", SIZES) == len(group)


def test_zarr_python_reads_and_writes_the_same_and_checks_it(bench: Bench, tmp_path: Path) -> None:
    found = peers.measure("zarr-python", bench.data, rounds=1)
    assert found["checks"] == dict.fromkeys((peers.LAYER, peers.IN_ORDER, peers.SCATTERED), True)
    assert all(found[what]["cpu"] > 0 for what in (peers.LAYER, peers.WRITE))


def test_a_peer_that_cannot_be_installed_is_a_line_that_says_why(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise PeerFailedError("there is no network")

    monkeypatch.setattr(bench_store, "python_of", refuse)
    assert "there is no network" in bench_store.peer_row(bench, "zarrs", tmp_path).measured


def test_every_line_is_measured(bench: Bench) -> None:
    names = set(bench_store.BENCHMARKS) - {"files", "scattered"}  # those make data of their own
    rows = [row for name in sorted(names) for row in bench_store.BENCHMARKS[name](bench)]
    assert len(rows) == 8
    assert all(" x CPU) of " in row.measured for row in rows)
