from __future__ import annotations

import pytest

from actstore.store.status.pace import pace

NOW = 1e6


def _record(at: float, seconds: float, n_tokens: int = 1000, shard: int = 0) -> dict[str, object]:
    return {"at": at, "seconds": seconds, "n_tokens": n_tokens, "shard": shard}


def test_nothing_committed_lately_has_no_pace() -> None:
    assert pace([], NOW) is None
    assert pace([_record(NOW - 3600, 10)], NOW) is None


def test_a_run_just_begun_is_measured_from_its_beginning() -> None:
    found = pace([_record(NOW - 10, 5), _record(NOW - 5, 5)], NOW)
    assert found is not None
    assert (found.tokens_per_second, found.shards_per_second) == (200.0, 0.2)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_the_pace_is_that_of_all_workers_together(n_workers: int) -> None:
    records = [
        _record(NOW - 10 * i, 10.0, shard=1000 * worker + i)
        for worker in range(n_workers)
        for i in range(1000)
    ]
    found = pace(records, NOW)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(n_workers * 100, rel=1e-9)
    assert found.shards_per_second == pytest.approx(n_workers * 0.1, rel=1e-9)


@pytest.mark.parametrize("seconds", [7.0, 290.0, 900.0, 3000.0])
def test_shards_of_any_length_give_the_same_pace(seconds: float) -> None:
    records = [
        _record(NOW - 31 - seconds * i, seconds, n_tokens=int(50 * seconds)) for i in range(500)
    ]
    found = pace(records, NOW)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(50, rel=1e-9)


def test_several_poolings_of_one_pass_count_their_tokens_once() -> None:
    records = [_record(NOW - 10 * i, 10.0, shard=i) for i in range(5) for _pooling in range(3)]
    found = pace(records, NOW)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(100)
    assert found.shards_per_second == pytest.approx(0.3)


def test_a_slower_night_does_not_count_in_the_morning() -> None:
    night = [_record(NOW - 900 - 100 * i, 100.0) for i in range(100)]
    morning = [_record(NOW - 10 * i, 10.0) for i in range(61)]
    found = pace(night + morning, NOW)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(100, rel=0.02)


def test_shards_that_took_no_time_at_all_have_no_pace() -> None:
    assert pace([_record(NOW - 5, 0.0)], NOW) is None
