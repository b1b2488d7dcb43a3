"""Commits in the background: in order, at most one under way, errors not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from actstore.extract.workers.committing import Committer


def test_a_second_commit_waits_for_the_first_and_order_is_kept() -> None:
    done: list[int] = []
    may_end = threading.Event()

    def first() -> None:
        may_end.wait(5)
        done.append(1)

    with Committer() as committer:
        committer.submit(first)
        assert done == []  # the caller went on
        threading.Timer(0.05, may_end.set).start()
        committer.submit(lambda: done.append(2))
        assert done[0] == 1
    assert done == [1, 2]


def fail() -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("commits", [[fail], [fail, lambda: None]])
def test_an_error_of_a_commit_ends_the_run(commits: list[Callable[[], None]]) -> None:
    def run() -> None:
        with Committer() as committer:
            for commit in commits:
                committer.submit(commit)

    with pytest.raises(OSError, match="No space left"):
        run()


def test_a_commit_under_way_is_finished_when_the_run_is_stopped() -> None:
    done: list[str] = []
    may_end = threading.Event()

    def commit() -> None:
        may_end.wait(5)
        done.append("committed")

    def run() -> None:
        with Committer() as committer:
            committer.submit(commit)
            threading.Timer(0.05, may_end.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["committed"]
