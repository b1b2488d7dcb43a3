"""Timing cases side by side, so that what else the machine does falls on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.clock import Cases, Cost, cost, paired_costs, ratios

__all__ = [
    "Cases",
    "Cost",
    "Row",
    "as_table",
    "best_seconds",
    "cost",
    "paired_costs",
    "ratios",
    "target_table",
]


@dataclass(frozen=True)
class Row:
    """One line of a table of targets."""

    what: str
    target: str
    measured: str


def best_seconds(cases: Cases, repeats: int) -> dict[str, float]:
    """The fastest of `repeats` rounds for each case; every round runs all cases in turn."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(repeats):
        for name, run in cases.items():
            best[name] = min(best[name], cost(run).wall)
    return best


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
