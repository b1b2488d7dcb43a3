"""Timing cases side by side, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Cases = Mapping[str, Callable[[], object]]


def best_seconds(cases: Cases, repeats: int) -> dict[str, float]:
    """The fastest of `repeats` rounds for each case; every round runs all cases in turn."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(repeats):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def as_table(title: str, floor: str, seconds: Mapping[str, float]) -> str:
    """A Markdown table: seconds, and the ratio to the case named `floor`."""
    lines = [f"**{title}**", "", f"| case | seconds | x {floor} |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {s:.4f} | {s / seconds[floor]:.2f} |" for name, s in seconds.items()]
    return "\n".join(lines) + "\n"
