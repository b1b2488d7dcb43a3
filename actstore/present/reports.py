"""What the commands that do something print when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.present.terminal import lines, size, table

if TYPE_CHECKING:
    from actstore.evaluate import EvaluationReport
    from actstore.extract import ExtractionReport
    from actstore.metrics import MetricsReport
    from actstore.snapshots import FetchReport


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
    lines(*(f"- {n:,} are NaN: {reason}" for reason, n in report.reasons.items()))
    lines(*(f"- left out: {reason}" for reason in report.not_possible))


def show_fetched(reports: Sequence[FetchReport]) -> None:
    """`actstore fetch`."""
    taken = [one for report in reports for one in report.snapshots]
    table(
        ["repository", "commit", "files", "size", "was there"],
        [
            (
                one.repo,
                one.commit[:8],
                len(one.files),
                size(sum(one.files.values())),
                "yes" if one.was_there else "–",
            )
            for one in taken
        ],
        title=f"{len(taken)} in the Hugging Face cache: "
        f"{size(sum(report.n_bytes for report in reports))}",
    )
