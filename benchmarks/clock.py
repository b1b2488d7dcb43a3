"""What a run costs on both clocks; only the standard library, for every peer's environment."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Cases = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Cost:
    """Seconds that a run took."""

    wall: float
    cpu: float
    """Of all threads and of child processes that have ended."""

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def cpu_seconds() -> float:
    """CPU time of this process, all its threads, and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(run: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), cpu_seconds()
    run()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def paired_costs(cases: Cases, rounds: int) -> dict[str, list[Cost]]:
    """What each case cost in each round; every round runs all cases, every other one backwards."""
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for i in range(rounds):
        for name in list(cases)[:: -1 if i % 2 else 1]:
            costs[name].append(cost(cases[name]))
    return costs


def ratios(costs: Sequence[Cost], floor: Sequence[Cost]) -> Cost:
    """The median over rounds of each round's ratio, for both clocks."""
    pairs = list(zip(costs, floor, strict=True))
    wall, cpu = (
        median(getattr(one, clock) / getattr(other, clock) for one, other in pairs)
        for clock in ("wall", "cpu")
    )
    return Cost(wall, cpu)
