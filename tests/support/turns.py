"""Threads whose steps in a storage are interleaved in a chosen order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Condition, Thread, current_thread
from typing import Any

from actstore.store.storage import LocalStorage


class Watched(LocalStorage):
    """Real storage that says what it is about to do."""

    before: Callable[[str], object] | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in ("create", "replace", "read", "names", "delete") and self.before:
            self.before(name)
        return super().__getattribute__(name)


def run_in_turns(storage: Watched, tasks: dict[str, Callable[[], object]], order: Random) -> None:
    """Run tasks in threads of which one at a time takes one step of the storage."""
    turn, waiting = Condition(), set(tasks)
    current: str | None = None

    def step(_: str) -> None:
        nonlocal current
        name = current_thread().name
        with turn:
            if current == name and order.random() < 0.3:
                current = order.choice(sorted(waiting))
                turn.notify_all()
            assert turn.wait_for(lambda: current == name, timeout=20)

    def run(task: Callable[[], object]) -> None:
        nonlocal current
        step("begin")
        task()
        with turn:
            waiting.remove(current_thread().name)
            current = order.choice(sorted(waiting)) if waiting else None
            turn.notify_all()

    storage.before = step
    threads = [Thread(target=run, args=(task,), name=name) for name, task in tasks.items()]
    for thread in threads:
        thread.start()
    with turn:
        current = order.choice(sorted(waiting))
        turn.notify_all()
    for thread in threads:
        thread.join()
    storage.before = None
