"""What `actstore verify` prints: damage by model, checkpoint and array, and what repairs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from actstore.present.terminal import lines, size, table
from actstore.refs import ranges

if TYPE_CHECKING:
    from actstore.extract import Recomputed
    from actstore.store import Problem, VerifyReport

_MOST_ROWS = 40
"""Of the table."""
_MOST_RANGES = 3
"""Of rows, layers or tasks in one cell."""


def show_verification(report: VerifyReport) -> None:
    """`actstore verify`."""
    lenses = f", {report.n_lenses:,} fitted lenses" if report.n_lenses else ""
    lines(
        f"{report.n_shards:,} shards ({size(report.n_bytes)}) and {report.n_heads:,} lens heads"
        f"{lenses}, {_count(len(report.problems))} damaged"
    )
    groups = _groups(report.problems)
    if groups:
        _show_table(report, groups[:_MOST_ROWS])
    if len(groups) > _MOST_ROWS:
        lines(f"… and {len(groups) - _MOST_ROWS:,} more: actstore verify STORE --json has all.")
    _show_commands(report)
    for note in report.notes:
        lines(f"Note: {note.n:,} objects, such as {note.example}: {note.what}")
    _show_repaired(report)


def show_recomputed(found: Sequence[Recomputed]) -> None:
    """What `actstore verify --deep` extracted again."""
    if not found:
        lines("Nothing was extracted again: repair the damage first, then ask for --deep again.")
        return
    same = sum(one.identical for one in found)
    near = [one for one in found if one.agrees and not one.identical]
    lines(f"{len(found):,} arrays of shards extracted again: {same:,} agree to the last bit")
    if near:
        largest = max(one.difference for one in near)
        lines(f"{len(near):,} differ by rounding: by {largest:.2g} of a state's length at most")
    apart = [one for one in found if not one.agrees]
    if apart:
        rows = [
            (
                one.model,
                one.checkpoint,
                one.array,
                f"{one.rows[0]:,}:{one.rows[1]:,}",
                one.difference,
            )
            for one in apart
        ]
        columns = ["model", "checkpoint", "array", "rows", "difference"]
        table(columns, rows, title="Not what the model gives now")
        lines("Is it the same model, tokenizer and settings? Then extract into another store.")


def as_document(report: VerifyReport, again: Sequence[Recomputed]) -> dict[str, Any]:
    """All of it, for JSON."""
    problems = [{k: v for k, v in asdict(one).items() if k != "remedy"} for one in report.problems]
    return {
        **asdict(report),
        "problems": problems,
        "commands": report.commands(),
        "extracted_again": [{**asdict(one), "agrees": one.agrees} for one in again],
    }


def _show_table(report: VerifyReport, groups: Sequence[Sequence[Problem]]) -> None:
    columns = ["where", "objects", "layers", "rows", "texts", "tasks", "what is wrong"]
    table(columns, [_row(report, group) for group in groups], title="Damaged")


def _row(report: VerifyReport, group: Sequence[Problem]) -> tuple[object, ...]:
    first = group[0]
    layers = sorted({layer for one in group for layer in one.layers})
    spans = sorted({one.rows for one in group if one.rows is not None})
    return (
        " ".join(filter(None, [first.model, first.checkpoint, first.array])),
        len(group),
        ranges(layers) or "–",
        _some([f"{start:,}:{stop:,}" for start, stop in _joined(spans)]) or "–",
        sum(one.n_texts for one in group) or "–",
        _tasks(report, group) or "–",
        _reasons(group),
    )


def _tasks(report: VerifyReport, group: Sequence[Problem]) -> str:
    """The suites all of whose tasks are concerned, and the other tasks."""
    used = dict.fromkeys(task for one in group for task in one.tasks)
    whole = {n: t for n, t in report.suites.items() if len(t) > 1 and used.keys() >= {*t}}
    covered = {task for tasks in whole.values() for task in tasks}
    suites = [f"all tasks of {name}" for name in whole]
    return _some([*suites, *(task for task in used if task not in covered)])


def _reasons(group: Sequence[Problem]) -> str:
    """What is wrong with most of them first."""
    counts = Counter(one.what for one in group).most_common()
    what, others = counts[0][0], len(group) - counts[0][1]
    key = "" if group[0].rows is not None and len(group) > 1 else f" ({group[0].key})"
    return f"{what}{key}" + (f"; {others:,} others" if others else "")


def _show_commands(report: VerifyReport) -> None:
    commands = report.commands()
    if commands:
        lines("To repair:", *(f"  {command}" for command in commands))
    lost = [one for one in report.problems if not one.remade]
    if lost:
        lines("No command makes these again:", *(f"  {one.command}" for one in lost[:_MOST_ROWS]))
    if len(lost) > _MOST_ROWS:
        lines(f"  … and {len(lost) - _MOST_ROWS:,} more")


def _show_repaired(report: VerifyReport) -> None:
    for what, n in Counter(one.what for one in report.repaired).most_common():
        lines(f"{_count(n)}: {what}")


def _groups(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Those of one model, checkpoint and array together, in order of their first."""
    found: dict[tuple[str, str, str], list[Problem]] = {}
    for one in problems:
        found.setdefault((one.model, one.checkpoint, one.array), []).append(one)
    return list(found.values())


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges, ascending, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_RANGES
    return ", ".join(parts[:_MOST_RANGES]) + (f", and {more:,} more" if more > 0 else "")


def _count(n: int) -> str:
    return "1 object" if n == 1 else f"{n:,} objects"
