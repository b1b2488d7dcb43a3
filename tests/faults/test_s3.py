"""A bucket behind a bad network: errors that say so, and in the end the right bytes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from actstore.errors import MissingShardsError, StorageError
from actstore.store import create_store, open_store
from actstore.store.sharing.leases import Leases
from actstore.store.storage import open_storage
from tests.support.s3.proxy import Fault, Proxy, sometimes
from tests.support.s3.spoiled import proxy
from tests.support.states import MODEL, commit_known, known_states, spec

__all__ = ["proxy"]
pytestmark = pytest.mark.faults
_RATES = (0.3, 0.1, 0.03)
_POOLINGS = ("mean", "last")
_RUNS = 5
"""After so many runs that failed the network is good again."""
_ROWS = np.arange(150)


def _write(url: str) -> None:
    """One run of a worker: it does what is not done yet."""
    store = create_store(url)
    store.add_texts([f"text {row}" for row in _ROWS])
    group = store.begin_checkpoint(spec())
    group.begin_poolings(_POOLINGS)
    with Leases(store.storage, seconds=2) as leases:
        for shard in group.todo(store.text_rows(), _POOLINGS):
            with leases.alone(f"shard {shard.index}"):
                commit_known(group, shard, _POOLINGS)


def _write_until_done(url: str, proxy: Proxy) -> int:
    """Run again after every error, as it says; the number of runs that failed."""
    for failed in range(_RUNS):
        try:
            _write(url)
        except StorageError:
            continue
        return failed
    proxy.plan = lambda *_: None
    _write(url)
    return _RUNS


def _read(url: str) -> bool:
    """Read two layers; False if the storage did not answer. Never a wrong number."""
    try:
        group = open_store(url).checkpoint(MODEL, "step1")
        for place, pooling in enumerate(_POOLINGS):
            for layer in (0, 3):
                expected = known_states(_ROWS, group.spec)[layer] + np.float16(place)
                np.testing.assert_array_equal(group.read(pooling, layer, _ROWS), expected)
    except StorageError:
        return False
    return True


def _arrays(url: str) -> dict[str, bytes]:
    storage = open_storage(url)
    return {one.key: storage.read(one.key) for one in storage.objects("") if "/c." in one.key}


def test_what_is_written_and_read_over_a_bad_network_is_right(
    bucket: str,
    proxy: Proxy,
    fault_trials: Callable[[int, int], int],
    fault_seed: int,
) -> None:
    _write(f"{bucket}/undisturbed.zarr")
    undisturbed = _arrays(f"{bucket}/undisturbed.zarr")
    failed_runs, faults, reads = 0, Counter[Fault](), Counter[bool]()
    for trial in range(fault_trials(3, 100)):
        random = Random(f"{fault_seed}-{trial}")
        rate, url = _RATES[trial % len(_RATES)], f"{bucket}/{trial}.zarr"
        proxy.plan = sometimes(random.randrange(1 << 32), rate)
        failed_runs += _write_until_done(url, proxy)
        reads[_read(url)] += 1
        proxy.plan = lambda *_: None
        assert _arrays(url) == undisturbed, f"trial {trial}, faults at {rate:.0%} of requests"
        assert _read(url)
        faults.update(proxy.faults)
        proxy.faults.clear()
    assert set(faults) == set(Fault)
    log = logging.getLogger(__name__)
    log.info("%d runs failed, %d faults, reads: %s", failed_runs, faults.total(), dict(reads))


def test_a_reader_sees_right_numbers_or_none_while_a_bucket_is_written_over_a_bad_network(
    bucket: str, proxy: Proxy, fault_seed: int
) -> None:
    url = f"{bucket}/s.zarr"
    store = create_store(url)
    store.add_texts([f"text {row}" for row in _ROWS])
    group = store.begin_checkpoint(spec())
    group.begin_poolings(_POOLINGS)
    proxy.plan = sometimes(fault_seed, 0.1)
    for shard in group.todo(_ROWS, _POOLINGS):
        for _ in range(_RUNS):
            try:
                commit_known(group, shard, _POOLINGS)
                break
            except StorageError:
                continue
        try:
            states = open_store(url).checkpoint(MODEL, "step1").read("mean", 1, _ROWS)
        except (StorageError, MissingShardsError):
            continue
        np.testing.assert_array_equal(states, known_states(_ROWS, group.spec)[1])
    proxy.plan = lambda *_: None
    assert _read(url)
