"""From mteb's results to the store's score table and mteb's own files."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from mteb.cache import ResultCache
from mteb.results import TaskResult

from actstore.evaluate.collection.bundle import versions
from actstore.evaluate.scoring.encoder import model_meta
from actstore.evaluate.scoring.worker import Unit
from actstore.store import ScoreRecord, Store


def save_result(store: Store, unit: Unit, result: TaskResult) -> None:
    """Write a unit's TaskResult where mteb's ResultCache reads it, and its scores to the table.

    The table is written last: a unit counts as scored once it is there.
    """
    meta = model_meta(store.checkpoint(unit.model, unit.checkpoint), unit.layer, unit.pooling)
    ResultCache(store.results_path).save_to_cache(result, meta)
    store.record_scores(score_records(unit, result))


def score_records(unit: Unit, result: TaskResult) -> list[ScoreRecord]:
    """One record a split and subset of a result."""
    entries = [(split, entry) for split, found in result.scores.items() for entry in found]
    return [_record(unit, result, split, entry, len(entries)) for split, entry in entries]


def _record(
    unit: Unit, result: TaskResult, split: str, entry: Mapping[str, Any], n_entries: int
) -> ScoreRecord:
    subset = entry["hf_subset"]
    return ScoreRecord(
        model=unit.model,
        checkpoint=unit.checkpoint,
        layer=unit.layer,
        pooling=unit.pooling,
        task=unit.task.name,
        task_type=unit.task_type,
        split=split,
        subset=subset,
        main_score=float(entry["main_score"]),
        scores={name: float(value) for name, value in entry.items() if _is_score(value)},
        in_average=(split, subset) in unit.task.averaged,
        evaluation_seconds=float(result.evaluation_time or 0.0) / n_entries,
        mteb_version=str(versions()["mteb"]),
        inputs_digest=unit.inputs,
    )


def _is_score(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
