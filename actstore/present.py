"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

if TYPE_CHECKING:
    from actstore.evaluate import EvaluationReport
    from actstore.extract import ExtractionReport
    from actstore.metrics import MetricsReport
    from actstore.store import PoolingStatus, StoreInfo, VerifyReport

console = Console(highlight=False)


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
        numeric = all(row[index].replace(",", "").replace(".", "").isdigit() for row in body)
        drawn.add_column(name, justify="right" if numeric and body else "left", overflow="fold")
    for row in body:
        drawn.add_row(*row)
    console.print(drawn)


def lines(*text: str) -> None:
    """Print lines as they are."""
    for line in text:
        console.print(line, markup=False, soft_wrap=True)


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
            ["checkpoint", "layers", "poolings", "token sample", "lens head", "size"],
            [
                (
                    one.checkpoint,
                    ranges(one.layers),
                    ", ".join(one.poolings),
                    ", ".join(one.token_samples) or "–",
                    "yes" if one.has_head else "–",
                    size(one.n_bytes),
                )
                for one in model.checkpoints
            ],
            title=f"{model.model}: {', '.join(sorted(about))}{cut if model.n_truncated else ''}",
        )


def show_status(statuses: Sequence[PoolingStatus], scores: Iterable[Sequence[object]]) -> None:
    """`actstore status`."""
    arrays = list(dict.fromkeys(one.array for one in statuses))
    for model, of_model in _grouped(statuses, "model"):
        rows = []
        for checkpoint, found in _grouped(of_model, "checkpoint"):
            done = {one.array: f"{one.done}/{one.total}" for one in found}
            last = max((one.last_commit or 0.0 for one in found), default=0.0)
            speed = max((one.tokens_per_second or 0.0 for one in found), default=0.0)
            cells = [done.get(array, "–") for array in arrays]
            rows.append((checkpoint, *cells, _when(last), round(speed)))
        table(["checkpoint", *arrays, "last commit", "tokens/s"], rows, title=f"{model}: shards")
    scored = list(scores)
    if scored:
        table(["model", "checkpoint", "pooling", "layers", "tasks"], scored, title="Scores")


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
    lines(f"{report.n_shards} shards ({size(report.n_bytes)}), {len(report.problems)} damaged")
    for problem in report.problems:
        start, stop = problem.rows
        lines(
            f"- {problem.model} at {problem.checkpoint}, {problem.array} rows {start}:{stop}: "
            f"{problem.what}",
            f"  Repair: {problem.command}",
        )


def size(n_bytes: int) -> str:
    """`210.0 MB`."""
    return decimal(n_bytes)


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 6`: runs of neighbours as ranges."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _grouped(
    statuses: Iterable[PoolingStatus], field: str
) -> Iterable[tuple[str, list[PoolingStatus]]]:
    """The statuses by a field, in the order of its first appearance."""
    groups: dict[str, list[PoolingStatus]] = {}
    for one in statuses:
        groups.setdefault(getattr(one, field), []).append(one)
    return groups.items()


def _when(at: float) -> str:
    return "–" if not at else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
