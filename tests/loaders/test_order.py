"""Which rows an epoch gives to whom: each once, whatever the chunks, ranks, workers and resumes."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError
from actstore.loaders.order import Epoch, Share
from actstore.loaders.resuming import Place, place_of

sizes_of_chunks = st.lists(st.integers(1, 9), min_size=1, max_size=12)
Row = tuple[int, int]


@st.composite
def epochs(draw: st.DrawFn, drop_last: bool | None = None) -> Epoch:
    batch = draw(st.integers(1, 7))
    return Epoch(
        sizes=np.array(draw(sizes_of_chunks)),
        batch_size=batch,
        window=batch * draw(st.integers(1, 4)),
        seed=draw(st.none() | st.integers(0, 99)),
        number=draw(st.integers(0, 3)),
        drop_last=draw(st.booleans()) if drop_last is None else drop_last,
    )


def rows_between(epoch: Epoch, start: int, stop: int) -> list[Row]:
    pieces = epoch.pieces(start, stop)
    return [(piece.chunk, place) for piece in pieces for place in range(piece.low, piece.high)]


def batches_of(epoch: Epoch, share: Share, first: int = 0) -> list[list[Row]]:
    """A worker's batches from one on, as the data sets make them, without the states."""
    start, stop = epoch.rows_of(share)
    found = []
    for low in range(start + first * epoch.batch_size, stop, epoch.batch_size):
        begin = low - (low - start) % epoch.window
        held = rows_between(epoch, begin, min(begin + epoch.window, stop))
        mixed = [held[i] for i in epoch.shuffled(begin, len(held))]
        found.append(mixed[low - begin : low - begin + epoch.batch_size])
    return found


def in_turn(workers: list[list[list[Row]]]) -> list[list[Row]]:
    """The batches of several workers as a DataLoader gives them."""
    todo = [iter(one) for one in workers]
    given = []
    for one in cycle(range(len(todo))):
        batch = next(todo[one], None)
        if batch is None:
            break
        given.append(batch)
    assert all(next(one, None) is None for one in todo)
    return given


def all_rows(epoch: Epoch) -> list[Row]:
    return [(chunk, place) for chunk, size in enumerate(epoch.sizes) for place in range(size)]


@given(epochs(drop_last=False), st.integers(1, 4), st.integers(1, 4))
def test_every_row_is_given_once(epoch: Epoch, ranks: int, workers: int) -> None:
    given = [
        row
        for rank in range(ranks)
        for worker in range(workers)
        for batch in batches_of(epoch, Share(rank, ranks, worker, workers))
        for row in batch
    ]
    assert sorted(given) == all_rows(epoch)


@given(epochs(drop_last=True), st.integers(1, 4), st.integers(1, 4))
def test_ranks_give_equally_many_full_batches_if_the_last_is_dropped(
    epoch: Epoch, ranks: int, workers: int
) -> None:
    given = [
        [
            batch
            for worker in range(workers)
            for batch in batches_of(epoch, Share(rank, ranks, worker, workers))
        ]
        for rank in range(ranks)
    ]
    n_batches = int(epoch.sizes.sum()) // ranks // epoch.batch_size
    assert [len(batches) for batches in given] == [n_batches] * ranks
    assert all(len(batch) == epoch.batch_size for batches in given for batch in batches)
    rows = [row for batches in given for batch in batches for row in batch]
    assert len(set(rows)) == len(rows)


@given(epochs(), st.integers(1, 3), st.integers(1, 4), st.integers(0, 80))
def test_what_is_resumed_gives_the_batches_that_were_left(
    epoch: Epoch, ranks: int, workers: int, taken: int
) -> None:
    for rank in range(ranks):
        shares = [Share(rank, ranks, worker, workers) for worker in range(workers)]
        whole = in_turn([batches_of(epoch, share) for share in shares])
        assert len(whole) == epoch.n_batches(shares[0])
        taken = min(taken, len(whole))
        state = Place(epoch.number, taken, 0, workers, alone=True)
        places = [place_of(state, epoch.number, worker, workers) for worker in range(workers)]
        rest = in_turn([batches_of(epoch, shares[p.worker], p.taken) for p in places])
        assert whole[taken:] == rest


@given(sizes_of_chunks, st.integers(1, 5))
def test_epochs_differ_and_come_again(sizes: list[int], batch: int) -> None:
    def rows(number: int, seed: int = 0) -> list[Row]:
        epoch = Epoch(np.array(sizes), batch, 4 * batch, seed, number)
        return [row for one in batches_of(epoch, Share()) for row in one]

    assert rows(1) == rows(1)
    if sum(sizes) > 20:  # 20! orders, if a window holds them; chunks alone have far fewer
        assert rows(0) != rows(1) or batch == 1
    unshuffled = Epoch(np.array(sizes), batch, 4 * batch, None)
    assert rows_between(unshuffled, 0, sum(sizes)) == all_rows(unshuffled)


def test_a_window_of_everything_is_a_uniform_shuffle() -> None:
    firsts = np.zeros((4, 12))
    for seed in range(2400):
        epoch = Epoch(np.array([3, 4, 5]), 4, 12, seed)
        rows = [row for one in batches_of(epoch, Share()) for row in one]
        for place, row in enumerate(rows):
            firsts[place // 4 if place < 12 else 3, all_rows(epoch).index(row)] += 1
    expected = 2400 / 3
    assert np.abs(firsts[:3] - expected).max() < 5 * np.sqrt(expected)


def test_rows_of_one_chunk_share_a_window_and_chunks_of_all_places_meet() -> None:
    epoch = Epoch(np.full(64, 8), 32, 128, 0)
    window = {chunk for chunk, _ in rows_between(epoch, 0, 128)}
    assert len(window) == 16
    assert max(window) - min(window) > 40
    first = batches_of(epoch, Share())[0]
    assert len({chunk for chunk, _ in first}) > 10


def test_another_number_of_workers_cannot_go_on() -> None:
    state = Place(0, 5, 0, 4, alone=True)
    with pytest.raises(InvalidInputError, match="num_workers=4"):
        place_of(state, 0, 0, 2)
    assert place_of(state, 1, 0, 2).taken == 0, "another epoch begins at its start"
