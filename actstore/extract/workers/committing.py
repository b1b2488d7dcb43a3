"""Committing shards in the background, so that the device goes on with the next one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Committer:
    """Runs one commit at a time in a thread; a second one waits until the first is done.

    So at most two shards are in memory: the one being written and the one being filled. An error
    of a commit is raised by the next `submit` or by `flush`, and ends the run.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._running: Future[None] | None = None

    def submit(self, commit: Callable[[], None]) -> None:
        """Begin a commit, once the last one has ended."""
        self.flush()
        self._running = self._pool.submit(commit)

    def flush(self) -> None:
        """Wait for the commit under way. Raises its error."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._pool.shutdown(wait=True)  # a commit under way is finished, also after an error
