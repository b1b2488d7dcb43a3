"""How far the stages of an experiment are, as `actstore status` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.present.terminal import duration, lines, table, when

if TYPE_CHECKING:
    from actstore.store.status.stage_status import StageStatus

_WORDS = {"unknown": "–"}
_UNITS = ((1, "s"), (60, "min"), (3600, "h"))


def show_stages(stages: Sequence[StageStatus], title: str) -> None:
    """A row a stage, and why those that failed did."""
    if not stages:
        return
    table(
        ["stage", "state", "done", "of", "%", "rate", "left", "last"],
        [
            (
                one.stage,
                _WORDS.get(one.state, one.state),
                _extent(one),
                one.unit,
                f"{100 * one.done // one.total}" if one.total else "–",
                speed(one.per_second) if one.state == "running" else "–",
                "–" if not one.seconds_left else duration(one.seconds_left),
                when(one.last_at),
            )
            for one in stages
        ],
        title=title,
    )
    for one in stages:
        if one.error is not None:
            lines(f"- {one.stage} failed ({when(one.last_at)}): {one.error}")


def speed(per_second: float | None) -> str:
    """`12/s`, `3.4/min`, `2/h`: in the unit that makes it more than one, or hours."""
    if per_second is None:
        return "–"
    seconds, unit = next((found for found in _UNITS if per_second * found[0] >= 1), _UNITS[-1])
    value = per_second * seconds
    return f"{value:,.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"


def _extent(one: StageStatus) -> str:
    """`12/60`; `12` where it is not known how many there will be."""
    if one.total is None:
        return f"{one.done:,}" if one.done else "–"
    return f"{one.done:,}/{one.total:,}"
