from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.store.arrays.chunked import (
    shard_key,
)
from actstore.store.arrays.zarr_metadata import (
    sharded_array,
    write_document,
)
from actstore.store.shards import (
    ENCODINGS,
    EXACT,
    ShardBuilder,
    ShardIdentity,
    ShardLayout,
    ShardReader,
)
from actstore.store.shards import reader as reader_module
from actstore.store.storage import LocalStorage, Reader

IDENTITY = ShardIdentity("plan", "a", 0, "content")
KEY = shard_key("a", 0)


@dataclass
class CountingReader:
    """Passes reads on and keeps where and how long they were."""

    reader: Reader
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.reader.size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append((offset, len(buffer)))
        self.reader.read_into(offset, buffer)


@dataclass(frozen=True)
class Case:
    """A shard, and what to read of it."""

    layout: ShardLayout
    used: np.ndarray
    """The positions that hold a text."""
    wanted: np.ndarray
    """Some of them."""
    dtype: str
    bridged: int
    at_once: int
    """Bytes that are read at once, at most."""
    worth_a_read: int
    """Bytes of a chunk that is read by itself."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows, chunks = draw(st.sampled_from([1, 4, 8])), draw(st.integers(1, 5))
    layout = ShardLayout(
        n_layers=draw(st.integers(1, 3)),
        rows_per_shard=rows * chunks,
        rows_per_chunk=rows,
        hidden_size=draw(st.sampled_from([1, 5, 16])),
        dtype=draw(st.sampled_from(["float16", "float32"])),
        precision=draw(st.sampled_from([EXACT, *sorted(ENCODINGS)])),
    )
    everything = st.sets(st.integers(0, rows * chunks - 1), min_size=1)
    used = sorted(draw(everything | st.just(set(range(rows * chunks)))))
    wanted = sorted(draw(st.sets(st.sampled_from(used)) | st.just(set(used))))
    numbers = st.sampled_from([0, 64, 1 << 20])
    return Case(
        layout,
        np.array(used),
        np.array(wanted, np.int64),
        draw(st.sampled_from(["float16", "float32"])),
        draw(st.sampled_from([0, 0, 0, 64, 1 << 20])),
        draw(numbers),
        draw(st.sampled_from([0, 0, 0, 64])),
    )


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_a_read_gives_what_zarr_python_reads_of_whole_chunks(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    storage, layout = LocalStorage(tmp_path_factory.mktemp("shards")), case.layout
    n_bytes = written(storage, layout, case.used)
    stored = zarr.open_array(storage.root / "a", mode="r")[...]
    out = np.full((len(case.wanted), layout.hidden_size), 7, case.dtype)
    with storage.open(KEY) as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "_READ_AT_ONCE", case.at_once)
        patch.setattr(reader_module, "_WORTH_A_READ", case.worth_a_read)
        shard = ShardReader(reader, layout, "a", IDENTITY, n_bytes, case.bridged)
        shard.check()
        for layer in range(layout.n_layers):
            shard.read(layer, case.wanted, out)
            expected = decoded(layout, stored[layer], case.wanted, case.dtype)
            np.testing.assert_array_equal(out, expected)


def test_rows_in_order_are_read_with_few_bytes_in_one_request(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    layout = ShardLayout(2, 1024, 32, 64, "float16")
    n_bytes = written(storage, layout, np.arange(1024))
    positions = np.arange(77, 577)
    with storage.open(KEY) as reader:
        counting = CountingReader(reader)
        shard = ShardReader(counting, layout, "a", IDENTITY, n_bytes)
        shard.read(1, positions, np.empty((500, 64), np.float16))
    assert len(counting.reads) == 1
    assert sum(n for _, n in counting.reads) <= 1.5 * 500 * layout.row_bytes


def test_large_chunks_are_read_to_where_they_are_wanted(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    layout = ShardLayout(1, 1024, 256, 256, "float16")
    n_bytes = written(storage, layout, np.arange(1024))
    out = np.empty((1024, 256), np.float16)
    with ThreadPoolExecutor(1) as pool, storage.open(KEY) as reader, peak() as found:
        shard = ShardReader(reader, layout, "a", IDENTITY, n_bytes)
        pool.submit(shard.read, 0, np.arange(1024), out).result()
    np.testing.assert_array_equal(out, zarr.open_array(tmp_path / "a", mode="r")[0])
    assert found[0] < 1.5 * layout.chunk_bytes  # the last of them alone went through a buffer


def test_small_gaps_are_read_along_where_that_spares_requests(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    layout = ShardLayout(1, 64, 4, 8, "float16")
    n_bytes = written(storage, layout, np.arange(64))
    positions, out = np.array([0, 8, 60]), np.empty((3, 8), np.float16)
    found = {}
    for bridged in (0, layout.stride):
        with storage.open(KEY) as reader:
            counting = CountingReader(reader)
            ShardReader(counting, layout, "a", IDENTITY, n_bytes, bridged).read(0, positions, out)
        found[bridged] = len(counting.reads)
    assert found == {0: 3, layout.stride: 2}


def test_threads_do_not_share_what_they_read(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    layout = ShardLayout(16, 256, 64, 128, "float16")
    n_bytes = written(storage, layout, np.arange(256))
    stored = zarr.open_array(storage.root / "a", mode="r")[...]

    def read(layer: int) -> bool:
        out = np.empty((256, 128), np.float32)
        with storage.open(KEY) as reader:
            ShardReader(reader, layout, "a", IDENTITY, n_bytes).read(layer, np.arange(256), out)
        return np.array_equal(out, stored[layer])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [layer % 16 for layer in range(200)]))


def test_a_shard_is_in_memory_once_while_it_is_made(tmp_path: Path) -> None:
    layout = ShardLayout(8, 1024, 128, 256, "float16")
    states = np.ones((8, 16, 256), "float16")
    used = np.arange(0, 1024, 3)  # one chunk in use after the other, with rows without a text
    with peak() as found:
        builder = ShardBuilder(layout)
        for positions in np.array_split(used, 64):
            builder.put(positions, states[:, : len(positions)])
        sealed = builder.seal(used, IDENTITY)
    assert len(sealed.image) == layout.shard_bytes
    assert found[0] < 1.2 * layout.shard_bytes


def test_reading_takes_one_layer_of_a_shard_besides_the_result(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    layout = ShardLayout(4, 2048, 256, 512, "float16")
    n_bytes = written(storage, layout, np.arange(2048))
    out = np.empty((2048, 512), np.float32)

    def read() -> None:
        with storage.open(KEY) as reader:
            ShardReader(reader, layout, "a", IDENTITY, n_bytes).read(2, np.arange(2048), out)

    with ThreadPoolExecutor(1) as pool, peak() as found:  # in a thread that has no buffer yet
        pool.submit(read).result()
    assert layout.data_bytes / 4 < found[0] < 1.2 * layout.data_bytes / 4


@contextmanager
def peak() -> Iterator[list[int]]:
    """A list that gets the most bytes that were allocated in the block."""
    found: list[int] = []
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def written(storage: LocalStorage, layout: ShardLayout, used: np.ndarray) -> int:
    """A shard of random states under the key `a`; its bytes."""
    shape = (layout.n_layers, len(used), layout.hidden_size)
    states = np.random.default_rng(0).standard_normal(shape).astype(layout.dtype)
    builder = ShardBuilder(layout)
    for part in np.array_split(np.random.default_rng(1).permutation(len(used)), 3):
        builder.put(used[part], states[:, part])
    document = sharded_array(layout, layout.rows_per_shard, ("layer", "text", "hidden"), {})
    write_document(storage, "a", document)
    sealed = builder.seal(used, IDENTITY)
    storage.create(KEY, sealed.image)
    return len(sealed.image)


def decoded(layout: ShardLayout, stored: np.ndarray, wanted: np.ndarray, dtype: str) -> np.ndarray:
    """Rows of stored values (row, width), each chunk decoded whole."""
    return np.concatenate([*_decoded(layout, stored, dtype)])[wanted]


def _decoded(layout: ShardLayout, stored: np.ndarray, dtype: str) -> Iterator[np.ndarray]:
    for chunk in np.split(stored, layout.chunks_per_layer):
        out = np.empty((layout.rows_per_chunk, layout.hidden_size), dtype)
        layout.encoding.decode(chunk, slice(None), out)
        yield out
