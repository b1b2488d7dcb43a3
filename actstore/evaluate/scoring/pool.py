"""Processes of this machine that score units: long-lived, of fixed threads, without a GPU.

A process that is killed costs the unit it was at; another takes its place.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from actstore.errors import ActstoreError, WorkerDiedError
from actstore.evaluate.scoring.conditions import Conditions, new_process_environment
from actstore.evaluate.scoring.queue import UnitQueue
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.evaluate.scoring.worker import Evaluator
from actstore.store import open_store

_SPAWN = multiprocessing.get_context("spawn")
_READY = "ready"


@dataclass
class _Member:
    number: int
    process: SpawnProcess
    pipe: Connection
    unit: Unit | None = None
    """What it is scoring."""


class ProcessPool:
    """Scores units in processes. Use it in a with block, which ends them whatever happens."""

    def __init__(self, store_url: str, conditions: Conditions, workers: int) -> None:
        self.store_url, self.conditions, self.workers = store_url, conditions, workers
        self._members: dict[Connection, _Member] = {}
        self._started = 0

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members.values():
            member.process.terminate()
        for member in self._members.values():
            member.process.join()
            member.pipe.close()
        self._members.clear()

    def outcomes(self, units: Sequence[Unit]) -> Iterator[UnitOutcome]:
        """The outcome of every unit, as they come.

        Raises WorkerDiedError where a process ends before it is ready for a unit, and what it
        raises that cannot open the store.
        """
        queue = UnitQueue(units)
        for _ in range(min(self.workers, len(units))):
            self._start()
        left = len(units)
        while left:
            for pipe in wait(list(self._members)):
                assert isinstance(pipe, Connection)
                outcome = self._hear(self._members[pipe], queue)
                if outcome is not None:
                    left -= 1
                    yield outcome

    def _hear(self, member: _Member, queue: UnitQueue) -> UnitOutcome | None:
        """What a process says: that it is ready, or an outcome. Gives it the next unit."""
        try:
            message = member.pipe.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            return self._bury(member, queue)
        if isinstance(message, ActstoreError):
            raise message
        member.unit = queue.next(member.number)
        if member.unit is not None:
            with suppress(OSError):  # it died just now: its pipe says so next
                member.pipe.send(member.unit)
        else:
            self._dismiss(member)
        return None if message == _READY else message

    def _start(self) -> None:
        ours, theirs = _SPAWN.Pipe()
        arguments = (self.store_url, self.conditions, theirs)
        with new_process_environment(self.conditions):
            process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
            process.start()
        theirs.close()  # so that a dead process's pipe reads as ended
        self._members[ours] = _Member(self._started, process, ours)
        self._started += 1

    def _dismiss(self, member: _Member) -> None:
        del self._members[member.pipe]
        member.pipe.close()
        member.process.join()

    def _bury(self, member: _Member, queue: UnitQueue) -> UnitOutcome:
        """The outcome of the unit that a dead process was at; another process takes its place."""
        self._dismiss(member)
        queue.leave(member.number)
        how = _how_it_died(member.process.exitcode or 0)
        if member.unit is None:
            raise WorkerDiedError(
                f"An evaluation process {how} before its first unit. In a script of your own, call "
                'evaluate under `if __name__ == "__main__":`.'
            )
        if len(queue):
            self._start()
        error = f"WorkerDiedError: the process that scored it {how}. Out of memory? Fewer --workers"
        return UnitOutcome(member.unit, None, error, error)


def _how_it_died(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _work(store_url: str, conditions: Conditions, pipe: Connection) -> None:
    """The main function of a process. Ctrl-C is left to the parent, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the parent needs no more, or is gone
        try:
            evaluator = Evaluator(open_store(store_url), conditions)
        except ActstoreError as error:
            pipe.send(error)
            return
        pipe.send(_READY)
        while True:
            pipe.send(evaluator.outcome(pipe.recv()))
