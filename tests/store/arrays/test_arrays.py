from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import CorruptShardError
from actstore.store import ShardStats
from actstore.store.arrays.sharded import ShardedArray, shards_of
from actstore.store.records.ledger import Ledger
from actstore.store.shards import ShardBuilder, ShardLayout
from actstore.store.storage import Storage, open_storage

LAYOUT = ShardLayout(2, 16, 4, 5, "float16")
N = 60
USED = np.delete(np.arange(N), [17, 30, 31])
STATS = ShardStats(1.0, 1, 0, 1.0, "cpu", {})


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    local = request.param == "folder"
    return open_storage(tmp_path if local else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def states() -> np.ndarray:
    """(layer, row, hidden)."""
    return np.random.default_rng(0).standard_normal((2, N, 5)).astype("float16")


@pytest.fixture
def array(storage: Storage, states: np.ndarray) -> ShardedArray:
    ledger = Ledger(storage, "m/main")
    array = ShardedArray(ledger, "mean_pool", LAYOUT)
    array.begin(N, ("layer", "text", "hidden"), {})
    for shard in shards_of(USED, USED, LAYOUT.rows_per_shard):
        builder = ShardBuilder(LAYOUT)
        builder.put(shard.positions, states[:, shard.rows])
        ledger.record([array.commit(shard, builder, "plan", b"texts", STATS)])
    array.committed()
    return array


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize(
    "rows", [USED, USED[::7], np.array([3, 59]), USED[:0]], ids=["all", "far", "two", "none"]
)
def test_rows_of_several_shards_come_in_their_order(
    array: ShardedArray, states: np.ndarray, rows: np.ndarray, threads: int | None
) -> None:
    for dtype in ("float16", "float32"):
        out = np.empty((len(rows), 5), dtype)
        array.read(1, rows, out, threads)
        np.testing.assert_array_equal(out, states[1, rows])


def test_one_damaged_shard_of_several_is_an_error_in_every_thread(
    array: ShardedArray, storage: Storage
) -> None:
    data = bytearray(storage.read(array.key(2)))
    data[LAYOUT.data_bytes // 2 + 3] ^= 1  # of the second layer's first chunk
    storage.replace(array.key(2), bytes(data))
    for threads in (1, 3):
        with pytest.raises(CorruptShardError, match=r"chunk 0 of layer index 1 fails its crc32c"):
            array.read(1, USED, np.empty((len(USED), 5), np.float16), threads)
    array.read(0, USED, np.empty((len(USED), 5), np.float16))
