"""From mteb's results to the store's score table and mteb's own files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult

from actstore.evaluate.scoring.conditions import Conditions, versions
from actstore.evaluate.scoring.encoder import model_meta
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.store import EvaluationFailure, ScoreRecord, Store

_RUN_SETTINGS = "run_settings.jsonl"


def save_result(store: Store, unit: Unit, result: TaskResult, conditions: Conditions) -> None:
    """Write a unit's TaskResult where mteb's ResultCache reads it, and its scores to the table.

    The table is written last: a unit counts as scored once it is there.
    """
    meta = model_meta(store.checkpoint(unit.model, unit.checkpoint), unit.representation)
    _save_for_mteb(store.results_path, result, meta)
    store.record_scores(score_records(unit, result, conditions))


def save_failure(store: Store, outcome: UnitOutcome) -> None:
    """Keep why a unit has no score, until it has one."""
    model, checkpoint, layer, pooling, transform, task = outcome.unit.key
    failure = EvaluationFailure(
        model=model,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        transform=transform,
        task=task,
        error=outcome.error,
        traceback=outcome.trace,
    )
    store.record_evaluation_failures([failure])


def score_records(unit: Unit, result: TaskResult, conditions: Conditions) -> list[ScoreRecord]:
    """One record a split and subset of a result."""
    entries = [(split, entry) for split, found in result.scores.items() for entry in found]
    seconds = float(result.evaluation_time or 0.0) / len(entries)
    return [_record(unit, split, entry, seconds, conditions) for split, entry in entries]


def _save_for_mteb(folder: Path, result: TaskResult, meta: ModelMeta) -> None:
    """mteb's files, each put in its place whole.

    mteb writes them in place, and merges the settings of the run into the file that is there.
    """
    final = ResultCache(folder).get_task_result_path(result.task_name, meta).parent
    final.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        cache = ResultCache(scratch)
        written = cache.get_task_result_path(result.task_name, meta).parent
        written.mkdir(parents=True)
        if (final / _RUN_SETTINGS).exists():
            shutil.copyfile(final / _RUN_SETTINGS, written / _RUN_SETTINGS)
        cache.save_to_cache(result, meta)
        for file in written.iterdir():
            file.replace(final / file.name)


def _record(
    unit: Unit, split: str, entry: Mapping[str, Any], seconds: float, conditions: Conditions
) -> ScoreRecord:
    model, checkpoint, layer, pooling, transform, task = unit.key
    subset = entry["hf_subset"]
    return ScoreRecord(
        model=model,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        transform=transform,
        task=task,
        task_type=unit.task_type,
        split=split,
        subset=subset,
        main_score=float(entry["main_score"]),
        scores={name: float(value) for name, value in entry.items() if _is_score(value)},
        in_average=(split, subset) in unit.task.averaged,
        evaluation_seconds=seconds,
        mteb_version=str(versions()["mteb"]),
        inputs_digest=unit.inputs,
        environment=conditions.to_json(),
    )


def _is_score(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
