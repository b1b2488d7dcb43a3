"""Signals that end a run."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

import pytest

from actstore.errors import StoppedError
from actstore.stopping import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_raises_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=rf"{number.name}.*run the same command again"):  # noqa: SIM117
        with stop_on_signals():
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_swallowed_signal_is_met_again_and_a_second_one_ignored() -> None:
    with stop_on_signals() as stop:
        stop.check()
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # while the first is being dealt with
        with pytest.raises(StoppedError, match="SIGTERM"):
            stop.check()


def test_other_threads_leave_the_handlers_alone() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with stop_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_signal_while_a_thread_is_started_is_met_at_the_next_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = threading.Event()
    thread = threading.Thread(target=ran.set)
    wait = thread._started.wait

    def interrupted() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return wait()

    monkeypatch.setattr(thread._started, "wait", interrupted)
    with stop_on_signals() as stop:
        thread.start()
        thread.join()
        assert ran.is_set()
        with pytest.raises(StoppedError, match="SIGTERM"):
            stop.check()


def test_a_block_inside_another_shares_its_signal() -> None:
    with stop_on_signals() as outer:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)
        with stop_on_signals() as inner, pytest.raises(StoppedError, match="SIGTERM"):
            inner.check()
        assert inner is outer
    with stop_on_signals() as later:
        later.check()


def test_cleaning_up_is_not_interrupted() -> None:
    with stop_on_signals() as stop:
        with stop_on_signals() as inner:
            inner.hold()
            os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(StoppedError, match="SIGUSR1"):
            stop.check()
