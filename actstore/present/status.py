"""What `actstore info` and `status` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

from actstore.present.terminal import duration, lines, size, table, when
from actstore.refs import ranges

if TYPE_CHECKING:
    from actstore.store import CheckpointStatus, EvaluationStatus, StoreInfo, StoreStatus
    from actstore.store.records.runs import RunError
    from actstore.store.status.extraction import ShardProgress

_MOST_FAILURES = 20


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
                    when(one.last_commit),
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
        lines(f"- {failure.task} at {place}: {failure.error} ({when(failure.at)})")
    if len(status.failures) > _MOST_FAILURES:
        lines("- …; all of them, with their tracebacks: actstore status STORE --json")


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
    return f"{error.error} ({when(error.at)} on {error.host})"
