"""Timing cases side by side, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.peers.protocol import cpu_seconds

Cases = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Row:
    """One line of a table of targets."""

    what: str
    target: str
    measured: str


@dataclass(frozen=True)
class Cost:
    """Seconds that a run took."""

    wall: float
    cpu: float
    """Of all threads and of child processes that have ended."""

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def best_seconds(cases: Cases, repeats: int) -> dict[str, float]:
    """The fastest of `repeats` rounds for each case; every round runs all cases in turn."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(repeats):
        for name, run in cases.items():
            best[name] = min(best[name], cost(run).wall)
    return best


def paired_costs(cases: Cases, rounds: int) -> dict[str, list[Cost]]:
    """What each case cost in each round; every round runs all cases, every other one backwards."""
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for i in range(rounds):
        for name in list(cases)[:: -1 if i % 2 else 1]:
            costs[name].append(cost(cases[name]))
    return costs


def cost(run: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), cpu_seconds()
    run()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def ratios(costs: Sequence[Cost], floor: Sequence[Cost]) -> Cost:
    """The median over rounds of each round's ratio, for both clocks."""
    pairs = list(zip(costs, floor, strict=True))
    wall, cpu = (
        median(getattr(one, clock) / getattr(other, clock) for one, other in pairs)
        for clock in ("wall", "cpu")
    )
    return Cost(wall, cpu)


def as_table(title: str, floor: str, seconds: Mapping[str, float]) -> str:
    """A Markdown table: seconds, and the ratio to the case named `floor`."""
    lines = [f"**{title}**", "", f"| case | seconds | x {floor} |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {s:.4f} | {s / seconds[floor]:.2f} |" for name, s in seconds.items()]
    return "\n".join(lines) + "\n"


def target_table(rows: Sequence[Row]) -> str:
    """A Markdown table: what, target, measured."""
    lines = ["| what | target | measured |", "| --- | --- | --- |"]
    lines += [f"| {row.what} | {row.target} | {row.measured} |" for row in rows]
    return "\n".join(lines) + "\n"
