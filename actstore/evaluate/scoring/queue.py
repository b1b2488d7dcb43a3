"""The order in which units are scored, so that a process seldom has to load another task."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from actstore.evaluate.scoring.unit import Unit


class UnitQueue:
    """Gives units to processes: of the task a process has loaded, as long as there are any."""

    def __init__(self, units: Iterable[Unit]) -> None:
        """units: tasks come in the order of their first unit."""
        self._waiting: dict[str, deque[Unit]] = {}
        for unit in units:
            self._waiting.setdefault(unit.task.name, deque()).append(unit)
        self._at: dict[int, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def next(self, process: int) -> Unit | None:
        """The next unit for a process; None when there is none left."""
        task = self._at.get(process)
        if not self._waiting.get(task or ""):
            task = self._choose()
        if task is None:
            return None
        self._at[process] = task
        return self._waiting[task].popleft()

    def leave(self, process: int) -> None:
        """A process ended: what it had loaded is gone."""
        self._at.pop(process, None)

    def _choose(self) -> str | None:
        """A task nobody has loaded, else the one with most units left for each process at it."""
        waiting = [task for task, units in self._waiting.items() if units]
        at = Counter(self._at.values())
        untouched = [task for task in waiting if not at[task]]
        if untouched:
            return untouched[0]
        return max(waiting, key=lambda t: len(self._waiting[t]) / at[t], default=None)
