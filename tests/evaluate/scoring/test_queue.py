"""Which unit a process gets next."""

from __future__ import annotations

from actstore.evaluate.scoring.queue import UnitQueue
from actstore.evaluate.scoring.transform import Representation
from actstore.evaluate.scoring.unit import Unit
from actstore.evaluate.suites.selection import TaskSelection


def units(**layers: int) -> list[Unit]:
    """So many layers of each task."""
    return [
        Unit(selection, "STS", "m", "main", Representation((layer,), "mean"), "digest")
        for task, n in layers.items()
        for selection in [TaskSelection.of_all(task, ["test"], ["default"])]
        for layer in range(n)
    ]


def asked(queue: UnitQueue, *processes: int) -> list[str | None]:
    found = [queue.next(process) for process in processes]
    return [None if unit is None else unit.task.name for unit in found]


def test_a_process_stays_with_its_task_until_it_is_done() -> None:
    queue = UnitQueue(units(a=3, b=2))
    assert asked(queue, 0, 1, 0, 1, 0) == ["a", "b", "a", "b", "a"]
    assert asked(queue, 0, 1) == [None, None]


def test_idle_processes_help_where_most_is_left_for_each() -> None:
    queue = UnitQueue(units(a=3, b=9))
    assert asked(queue, 0, 1, 2, 3) == ["a", "b", "b", "b"]


def test_every_unit_is_given_once() -> None:
    queue, wanted = UnitQueue(units(a=5, b=1, c=4)), units(a=5, b=1, c=4)
    given = [queue.next(turn % 3) for turn in range(len(wanted))]
    assert len(queue) == 0
    assert sorted(map(str, given)) == sorted(map(str, wanted))


def test_a_task_is_untouched_again_when_its_process_ended() -> None:
    queue = UnitQueue(units(a=9, b=9))
    assert asked(queue, 0, 1) == ["a", "b"]
    queue.leave(0)
    assert asked(queue, 2) == ["a"]
