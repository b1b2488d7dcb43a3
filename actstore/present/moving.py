"""What `actstore copy`, `merge`, `push`, `pull` and `drop` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.present.terminal import lines, size, table

if TYPE_CHECKING:
    from actstore.store.moving import (
        CopyPlan,
        CopyReport,
        DropPlan,
        MergeReport,
        PullReport,
        PushReport,
    )
    from actstore.store.moving.checkpoints import Moved

_SHOWN = 20


def show_copy_plan(plan: CopyPlan) -> None:
    """`actstore copy --dry-run`."""
    table(
        ["model", "checkpoint", "shards", "size", "how"],
        [
            (
                one.model,
                one.checkpoint,
                one.n_shards,
                size(one.n_bytes),
                "made anew" if one.made_anew else "as they are",
            )
            for one in plan.checkpoints
        ],
        title=f"{plan.source} to {plan.target}",
    )
    lines(
        f"{size(plan.n_bytes)} in all, {size(plan.document_bytes)} of them in "
        f"{plan.n_documents:,} objects of texts and tasks. Results are small, and not counted."
    )


def show_copy(report: CopyReport) -> None:
    """`actstore copy`."""
    plan = report.plan
    n_shards = sum(one.n_shards for one in plan.checkpoints)
    lines(
        f"Copied {n_shards:,} shards and {plan.n_documents:,} other objects "
        f"({size(plan.n_bytes)}), {report.n_results:,} records of results.",
        *_left(report.moved),
        _checked(plan.target, report.verified),
    )


def show_merge(report: MergeReport) -> None:
    """`actstore merge`."""
    lines(
        f"{report.target} has {report.n_texts - report.n_texts_before:,} new texts "
        f"({report.n_texts:,} in all) and {report.n_results:,} new records of results.",
        *(line for line in _left(report.moved) if "shards" not in line),
    )
    for one in report.unfinished[:_SHOWN]:
        lines(
            f"- {one.model} at {one.checkpoint} lacks {one.n_shards:,} shards: no source has all "
            f"of their texts. Run: {one.command}"
        )
    if len(report.unfinished) > _SHOWN:
        lines(f"- … and {len(report.unfinished) - _SHOWN} more checkpoints: actstore status")
    lines(_checked(report.target, report.verified))


def show_push(report: PushReport) -> None:
    """`actstore push`."""
    lines(f"Sent {report.n_sent:,} of {report.n_objects:,} objects ({size(report.bytes_sent)}).")
    if report.n_others:
        lines(
            f"{report.n_others:,} more objects are in the repository and not in this store; "
            "a push removes nothing."
        )
    lines(report.url)


def show_pull(store: str, report: PullReport) -> None:
    """`actstore pull`."""
    lines(
        f"Brought {report.n_brought:,} of {report.n_objects:,} objects "
        f"({size(report.bytes_brought)}) of commit {report.commit[:8]}.",
        _checked(store, report.verified),
    )


def show_drop_plan(store: str, plan: DropPlan) -> None:
    """`actstore drop`, before it asks."""
    lines(f"From {store}, {plan.model}, {size(plan.n_bytes)} go:")
    for one in plan.checkpoints[:_SHOWN]:
        what = f" ({', '.join(one.poolings)} only)" if one.poolings else ""
        again = f". Again: {one.command}" if one.command else ", left by a drop that was stopped"
        lines(f"- {one.checkpoint}{what}, {size(one.n_bytes)}{again}")
    if len(plan.checkpoints) > _SHOWN:
        lines(f"- … and {len(plan.checkpoints) - _SHOWN} more checkpoints, see --json")
    if plan.whole_model:
        lines("No other checkpoint of the model is left.")
    if plan.n_results:
        lines(f"Their {plan.n_results:,} results {'go too' if plan.results else 'stay'}.")


def _left(moved: Sequence[Moved]) -> list[str]:
    """What could not be brought along."""
    shards = sum(one.shards_left for one in moved)
    lenses = sum(len(one.lenses_left) for one in moved)
    told = []
    if shards:
        told.append(f"{shards:,} shards are not in the source yet; copy again when they are.")
    if lenses:
        told.append(
            f"{lenses:,} fitted lenses were left out: they belong to other states. "
            "Fit them again: actstore fit-lens"
        )
    return told


def _checked(url: str, verified: bool) -> str:
    if verified:
        return f"Every byte of {url} was read again and is sound."
    return f"Not verified. Run: actstore verify {url}"
