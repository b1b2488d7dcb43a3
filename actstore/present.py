"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from actstore.refs import ranges

if TYPE_CHECKING:
    from actstore.evaluate import EvaluationReport
    from actstore.extract import ExtractionReport
    from actstore.metrics import MetricsReport
    from actstore.store import (
        CheckpointStatus,
        EvaluationStatus,
        StoreInfo,
        StoreStatus,
        VerifyReport,
    )
    from actstore.store.runs import RunError
    from actstore.store.status import ShardProgress

console = Console(highlight=False)
_MOST_FAILURES = 20


def as_json(value: Any) -> None:
    """Print dataclasses, lists and dicts as JSON on standard output."""
    plain = [asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for v in _list(value)]
    document = plain if isinstance(value, list) else plain[0]
    console.print_json(json.dumps(document, default=str, allow_nan=True))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print rows under headings; numbers are right-aligned."""
    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    body = [[_cell(value) for value in row] for row in rows]
    for index, name in enumerate(columns):
        found = {re.sub("[,./]", "", row[index]) for row in body} - {"–"}
        numeric = bool(found) and all(cell.isdigit() for cell in found)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        drawn.add_row(*row)
    console.print(drawn)


def lines(*text: str) -> None:
    """Print lines as they are."""
    for line in text:
        console.print(line, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True).print(message, markup=False, soft_wrap=True)


def show_info(info: StoreInfo) -> None:
    """`actstore info`."""
    lines(
        f"{info.url}",
        f"  texts    {info.n_texts:,} ({size(info.text_bytes)})",
        f"  suites   {', '.join(info.suites) or 'none'}",
        f"  tasks    {', '.join(info.tasks) or 'none'}",
        f"  results  {info.n_scores:,} scores, {info.n_metrics:,} metric values",
    )
    for model in info.models:
        about = {f"{one.hidden_size} values in {one.dtype}" for one in model.checkpoints}
        cut = f"; {model.n_truncated:,} texts cut at {model.max_tokens} tokens"
        table(
            ["checkpoint", "layers", "of each text", "token sample", "lens head", "size"],
            [
                (
                    one.checkpoint,
                    ranges(one.layers),
                    ", ".join([*one.poolings, *one.text_values]),
                    ", ".join(one.token_samples) or "–",
                    "yes" if one.has_head else "–",
                    size(one.n_bytes),
                )
                for one in model.checkpoints
            ],
            title=f"{model.model}: {', '.join(sorted(about))}{cut if model.n_truncated else ''}",
        )


def show_status(status: StoreStatus) -> None:
    """`actstore status`: one row a checkpoint, then what is uneven and what went wrong."""
    if not status.models:
        lines(f"No checkpoint was begun in {status.url}. Run: actstore extract {status.url} …")
    for model in status.models:
        lines(f"{model.model}: {_summary(model.progress)}")
        table(
            ["checkpoint", "shards", "%", "tokens/s", "left", "workers", "last commit"],
            [
                (
                    one.checkpoint,
                    *_extent(one.progress),
                    len(one.workers) or "–",
                    _when(one.last_commit),
                )
                for one in model.checkpoints
            ],
        )
        for one in model.checkpoints:
            lines(*_remarks(one))
    begun = [one for model in status.models for one in model.checkpoints]
    if (error := status.last_error) and _matters(error, begun):
        lines(f"Last error: {_what(error)}")


def show_evaluation_status(status: EvaluationStatus) -> None:
    """`actstore status`: what is scored, and what could not be."""
    if status.scored:
        rows = [(*(value or "–" for value in astuple(one)),) for one in status.scored]
        columns = ["model", "checkpoint", "pooling", "transform", "layers", "tasks"]
        table(columns, rows, title="Scores")
    if status.failures:
        lines(f"{len(status.failures):,} could not be scored; run the same actstore eval again:")
    for failure in status.failures[:_MOST_FAILURES]:
        place = f"{failure.checkpoint}, layer {failure.layer}, {failure.pooling}"
        lines(f"- {failure.task} at {place}: {failure.error} ({_when(failure.at)})")
    if len(status.failures) > _MOST_FAILURES:
        lines("- …; all of them, with their tracebacks: actstore status STORE --json")


def show_extraction(report: ExtractionReport) -> None:
    """`actstore extract`."""
    table(
        ["checkpoint", "written", "kept", "texts", "cut", "tokens", "tokens/s", "lens head"],
        [
            (
                one.checkpoint,
                one.shards_written,
                one.shards_kept,
                one.n_texts,
                one.n_truncated,
                one.n_tokens,
                round(one.n_tokens / one.seconds) if one.seconds else 0,
                one.lens_head,
            )
            for one in report.checkpoints
        ],
        title=f"{report.model} in {report.store}: shards written and kept",
    )
    for lost in report.lost_workers:
        lines(f"{lost[0].upper()}{lost[1:]}; others did its work.")


def show_evaluation(report: EvaluationReport) -> None:
    """`actstore eval`."""
    lines(
        f"{report.suite}: {report.evaluated:,} scores computed, {report.skipped:,} were there, "
        f"{len(report.failures)} failed; {report.seconds:,.0f} s"
    )
    lines(*(f"- {failure.unit}: {failure.error}" for failure in report.failures))


def show_metrics(report: MetricsReport) -> None:
    """`actstore metrics`."""
    lines(
        f"{len(report.records):,} values computed, {report.reused:,} were there, "
        f"{report.undefined:,} undefined for their data (NaN); {report.seconds:,.0f} s"
    )
    lines(*(f"- left out: {reason}" for reason in report.not_possible))


def show_problems(report: VerifyReport) -> None:
    """`actstore verify`."""
    lines(
        f"{report.n_shards} shards ({size(report.n_bytes)}) and {report.n_heads} lens heads, "
        f"{len(report.problems)} damaged"
    )
    for problem in report.problems:
        rows = "" if problem.rows is None else f" rows {problem.rows[0]}:{problem.rows[1]}"
        lines(
            f"- {problem.model} at {problem.checkpoint}, {problem.array}{rows}: {problem.what}",
            f"  Repair: {problem.command}",
        )


def size(n_bytes: int) -> str:
    """`210.0 MB`."""
    return decimal(n_bytes)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 12 min`, `2 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _summary(progress: ShardProgress) -> str:
    """`120 of 1,038 shards, 84,112 tokens/s, 3 h 12 min left`."""
    shards, _, speed, left = _extent(progress)
    parts = [f"{shards.replace('/', ' of ')} shards"]
    parts += [f"{speed} tokens/s"] if progress.tokens_per_second else []
    return ", ".join([*parts, *([f"{left} left"] if progress.seconds_left else [])])


def _extent(progress: ShardProgress) -> tuple[str, str, str, str]:
    """Shards, percent, tokens/s and the time left, in words."""
    done, total, speed = progress.done, progress.total, progress.tokens_per_second
    left = progress.seconds_left
    return (
        f"{done:,}/{total:,}",
        str(100 * done // total) if total else "–",
        f"{speed:,.0f}" if speed is not None else "–",
        "–" if left is None else duration(left) if left else "done",
    )


def _remarks(one: CheckpointStatus) -> list[str]:
    """Arrays of a checkpoint that are not equally far, and the error that holds it up."""
    found = []
    complete = {array.done == array.total for array in one.arrays}
    if not one.arrays:
        found.append(f"- {one.checkpoint}: begun, without any array yet")
    elif len(complete) == 2:
        parts = [f"{array.array} {array.done:,}/{array.total:,}" for array in one.arrays]
        found.append(f"- {one.checkpoint}: {', '.join(parts)}")
    if one.last_error is not None and _matters(one.last_error, [one]):
        found.append(f"- {one.checkpoint}: {_what(one.last_error)}")
    return found


def _matters(error: RunError, checkpoints: Sequence[CheckpointStatus]) -> bool:
    """Whether something is still to be done, or the error came when all was done."""
    last = max((one.last_commit or 0.0 for one in checkpoints), default=0.0)
    return error.at > last or any(one.progress.seconds_left != 0 for one in checkpoints)


def _what(error: RunError) -> str:
    return f"{error.error} ({_when(error.at)} on {error.host})"


def _when(at: float | None) -> str:
    return "–" if not at else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
