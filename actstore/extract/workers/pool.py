"""Worker processes of one machine: one for each device, watched until the work is done.

This file imports no torch: a worker sets up its environment before its libraries read it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from actstore.errors import ActstoreError, WorkerDiedError
from actstore.extract.request import CheckpointReport, ExtractionRequest

_SPAWN = multiprocessing.get_context("spawn")
Reports = list[CheckpointReport]


@dataclass(frozen=True)
class PoolReport:
    """What a pool's workers did."""

    reports: list[Reports]
    """Of each that lived."""
    lost: tuple[str, ...]
    """How the others ended."""


@dataclass
class _Member:
    device: str
    process: SpawnProcess
    messages: Connection


def run_pool(
    url: str,
    request: ExtractionRequest,
    devices: Sequence[str],
    threads: int | None,
    advance: Callable[[int], None],
) -> PoolReport:
    """Extract with a worker process on each device; what each worker did.

    An error of one worker stops the others and is raised. The shards of a worker that is killed
    are taken over by the others; WorkerDiedError if none is left.
    """
    members: list[_Member] = []
    try:
        members.extend(_start(url, request, device, threads) for device in devices)
        return _watch(members, advance)
    finally:
        for member in members:
            if member.process.is_alive():
                member.process.terminate()  # it finishes its commit and gives back its leases
        for member in members:
            member.process.join()
            member.messages.close()


def _start(url: str, request: ExtractionRequest, device: str, threads: int | None) -> _Member:
    ours, theirs = _SPAWN.Pipe(duplex=False)
    arguments = (url, request, device, threads, theirs)
    process = _SPAWN.Process(target=_work, args=arguments, name=f"actstore {device}")
    process.start()
    theirs.close()  # so that a dead worker's pipe reads as ended
    return _Member(device, process, ours)


def _watch(members: Sequence[_Member], advance: Callable[[int], None]) -> PoolReport:
    reports: list[Reports] = []
    died: list[_Member] = []
    open_pipes = {member.messages: member for member in members}
    while open_pipes:
        for ready in wait(list(open_pipes)):
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, OSError):  # OSError: killed in the middle of a message
                died.append(open_pipes.pop(ready))
                continue
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, int):
                advance(message)
            else:
                reports.append(message)
                del open_pipes[ready]
    lost = tuple(_how_it_died(member) for member in died)
    if not reports:
        raise WorkerDiedError(
            f"{'; '.join(lost)}. Out of memory? Choose fewer --devices or smaller --batch-tokens. "
            "What was committed stays: run the same command again."
        )
    return PoolReport(reports, lost)


def _how_it_died(member: _Member) -> str:
    member.process.join()
    code = member.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"the worker on {member.device} {how}"


def _work(
    url: str, request: ExtractionRequest, device: str, threads: int | None, messages: Connection
) -> None:
    """The main function of a worker process."""
    os.environ["ACTSTORE_PROGRESS"] = "0"  # the parent draws one bar for all
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(threads)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        from actstore.extract.workers.worker import join

        message: object = join(url, request, device, threads, messages.send)
    except (Exception, KeyboardInterrupt) as error:
        message = _portable(error)
    with suppress(BrokenPipeError):  # the parent is gone and wants no answer
        messages.send(message)
    if isinstance(message, BaseException):
        os._exit(1)  # a download that a thread is still at would hold the process up


def _portable(error: BaseException) -> BaseException:
    """An error that reaches the parent: those of others may not be made anew there, nor is their
    traceback, so they are told in words."""
    if isinstance(error, ActstoreError | OSError | ImportError | KeyboardInterrupt):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


def _stop_with_parent() -> None:
    """Stop this worker if the process that started it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
