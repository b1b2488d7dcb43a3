"""Extractions and commands in processes of their own, which can be stopped at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.context import ForkContext, ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from actstore.__main__ import main
from actstore.extract import ExtractionRequest, extract
from actstore.store import open_store
from actstore.store.sharing.leases import LeaseInfo, live_leases
from actstore.store.storage import LocalStorage

FORKED = multiprocessing.get_context("forkserver")
"""Forked from a process that has imported all this, a child is at work at once."""
FORKED.set_forkserver_preload(
    [
        "actstore.extract",
        "actstore.extract.workers.runner",
        "transformers.models.gpt_neox.modeling_gpt_neox",
    ]
)


FORK = multiprocessing.get_context("fork")
"""A child shares the file systems that only this process sees."""
Context = ForkContext | ForkServerContext


def start(run: Callable[..., object], *arguments: object, context: Context = FORKED) -> BaseProcess:
    """Call a function in a process of its own."""
    process = context.Process(target=run, args=arguments)
    process.start()
    return process


def start_extraction(url: str, request: ExtractionRequest) -> BaseProcess:
    """Extract in a process of its own."""
    return start(_extract, url, request)


class Command:
    """`actstore …` in a folder, under way; what it says on standard error is kept in a file."""

    def __init__(
        self, folder: Path, command: str, *, context: Context = FORKED, **environment: str
    ) -> None:
        descriptor, said = tempfile.mkstemp()
        os.close(descriptor)
        self._said = Path(said)
        arguments = folder, command, self._said, environment
        self.process = start(_run_command, *arguments, context=context)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """Its exit code and what it said, white space folded, once it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "it does not end"
        said = " ".join(self._said.read_text().split())
        self._said.unlink()
        return self.process.exitcode, said


def run_command(folder: Path, command: str, *, context: Context = FORKED) -> tuple[int, str]:
    """Run `actstore …` in a folder: exit code and standard error."""
    return Command(folder, command, context=context).end()


def kill(process: BaseProcess, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal; nothing happens to a process that has ended."""
    if process.is_alive() and process.pid:
        os.kill(process.pid, number)


def is_stopped(process: BaseProcess) -> bool:
    """Whether a process is frozen. Source: proc_pid_stat(5)."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def ended_well(process: BaseProcess, seconds: float = 120) -> bool:
    """Whether a process ends, and without an error."""
    process.join(seconds)
    return process.exitcode == 0


def wait_until(happened: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that is about to happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def extracting(store: Path) -> list[LeaseInfo]:
    """The leases of the shards that workers are at; none where the store is not made yet."""
    held = live_leases(LocalStorage(store))
    return [lease for lease in held if "/pooled/" in lease.unit]


def _extract(url: str, request: ExtractionRequest) -> None:
    os.environ["ACTSTORE_PROGRESS"] = "0"
    extract(open_store(url), request)


def _run_command(folder: Path, command: str, said: Path, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.setsid()  # as a shell does, so that a key pressed reaches it and its workers
    os.environ.update({"ACTSTORE_PROGRESS": "0", "COLUMNS": "1000", **environment})
    sys.argv = ["actstore", *command.split()]
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    descriptor = os.open(said, os.O_WRONLY)
    os.dup2(descriptor, sys.stderr.fileno())
    main()
