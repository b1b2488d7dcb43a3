"""How far each stage of an experiment is: collect, extract, eval, metrics, report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from actstore.store.status.asked import Asked
from actstore.store.status.evaluation import EvaluationStatus, evaluation_status, scored_units
from actstore.store.status.extraction import StoreStatus, extraction_status
from actstore.store.status.stage_counts import Counted, collected, extracted, measured, scored
from actstore.store.status.stage_log import StageLog, stage_log

if TYPE_CHECKING:
    from actstore.store.store import Store

STAGES = ("collect", "extract", "eval", "metrics", "report")
"""In the order in which they run."""
_UNITS = ("tasks", "shards", "scores", "values", "pages")


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is."""

    stage: str
    state: str
    """`waiting` (nothing is done), `running`, `paused` (begun, and nobody is known to be at it),
    `failed`, `done`; `unknown` where something is done and nothing says how much there is to do."""
    done: int
    total: int | None
    """None where it is not known: without an experiment, or before its first checkpoint."""
    unit: str
    """Of both: `texts`, `tasks`, `shards`, `scores` (of a task at a checkpoint and layer),
    `values` (of a metric at a checkpoint and layer), `pages`."""
    per_second: float | None
    """Over the last minutes, of all processes together; None where nothing was done."""
    seconds_left: float | None
    """At that rate, of a stage that is running; 0 of one that is done."""
    last_at: float | None
    """When it last got further, or said something: seconds since 1970."""
    error: str | None
    """Why its last run failed, where it has not gone on since."""


@dataclass(frozen=True)
class Overview:
    """All that can be told of how far a store is, of one moment."""

    extraction: StoreStatus
    evaluation: EvaluationStatus
    stages: tuple[StageStatus, ...]


def overview(store: Store, asked: Asked | None = None) -> Overview:
    """How far extraction, evaluation and every stage are; each journal is read once.

    asked: what an experiment asks for: its stages are told, with totals where they are known.
    Without one, the stages that the store shows any sign of. Reads no states and no texts.
    """
    units = scored_units(store.storage)
    extraction = extraction_status(store)
    stages = _stages(store, extraction, units, asked)
    return Overview(extraction, evaluation_status(store, units), stages)


def _stages(
    store: Store, extraction: StoreStatus, units: pa.Table, asked: Asked | None
) -> tuple[StageStatus, ...]:
    counted = {
        "collect": collected(store, asked),
        "extract": extracted(extraction, asked),
        "eval": scored(store, units, asked),
        "metrics": measured(store.storage, asked),
    }
    last_at = {stage: one.last_at for stage, one in counted.items()}
    said = stage_log(store.storage, None if asked is None else asked.name, last_at)
    counted["report"] = _reported(said.get("report"), asked)
    if asked is None:
        shown = [stage for stage in STAGES if counted[stage].done or stage in said]
    else:
        shown = [stage for stage in STAGES if stage in asked.stages]
    return tuple(_status(stage, counted[stage], said.get(stage)) for stage in shown)


def waiting_stages(asked: Asked) -> tuple[StageStatus, ...]:
    """The stages of an experiment whose store was not made yet."""
    return tuple(
        _status(stage, Counted(0, None, unit), None)
        for stage, unit in zip(STAGES, _UNITS, strict=True)
        if stage in asked.stages
    )


def _reported(said: StageLog | None, asked: Asked | None) -> Counted:
    there = asked is not None and asked.report is not None and asked.report.is_file()
    return Counted(int(there or (said is not None and said.state == "done")), 1, "pages")


def _status(stage: str, counted: Counted, said: StageLog | None) -> StageStatus:
    state = _state(counted, said)
    left = 0.0 if state == "done" else None
    if state == "running" and counted.per_second and counted.total is not None:
        left = max(counted.total - counted.done, 0) / counted.per_second
    times = [counted.last_at or 0.0, 0.0 if said is None else said.at]
    return StageStatus(
        stage,
        state,
        counted.done,
        counted.done if state == "done" and counted.estimated else counted.total,
        counted.unit,
        counted.per_second,
        left,
        max(times) or None,
        said.error if said is not None and state == "failed" else None,
    )


def _state(counted: Counted, said: StageLog | None) -> str:
    whole = counted.total is not None and counted.done >= counted.total > 0
    if whole and (said is None or not counted.estimated):
        return "done"
    if counted.at_work or (said is not None and said.state == "running"):
        return "running"
    if said is None:
        begun = "unknown" if counted.total is None else "paused"
        return begun if counted.done else "waiting"
    # What a run once finished is not all there is to do, where that is known.
    unfinished = counted.total is not None and not counted.estimated
    return "paused" if said.state == "done" and unfinished else said.state
