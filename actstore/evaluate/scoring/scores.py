"""From mteb's results to the store's score table and mteb's own files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult

from actstore.evaluate.scoring.conditions import Conditions, versions
from actstore.evaluate.scoring.encoder import model_meta
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.store import EvaluationFailure, ScoreRecord, Store
from actstore.store.results.records import MTEB_RESULTS
from actstore.store.storage import Storage, join

_RUN_SETTINGS = "run_settings.jsonl"


def save_result(store: Store, unit: Unit, result: TaskResult, conditions: Conditions) -> None:
    """Write a unit's TaskResult where mteb's ResultCache reads it, and its scores to the table.

    The table is written last: a unit counts as scored once it is there.
    """
    meta = model_meta(store.checkpoint(unit.model, unit.checkpoint), unit.representation)
    _save_for_mteb(store.storage, result, meta)
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


def _save_for_mteb(storage: Storage, result: TaskResult, meta: ModelMeta) -> None:
    """Keep a result's files as mteb's ResultCache lays them out, each whole or not at all.

    mteb writes them in place, and merges the settings of the run into the file that is there.
    """
    with tempfile.TemporaryDirectory(prefix="actstore-") as scratch:
        cache = ResultCache(scratch)
        folder = cache.get_task_result_path(result.task_name, meta).parent
        place = join(MTEB_RESULTS, folder.relative_to(scratch).as_posix())
        folder.mkdir(parents=True)
        with suppress(FileNotFoundError):
            (folder / _RUN_SETTINGS).write_bytes(storage.read(join(place, _RUN_SETTINGS)))
        cache.save_to_cache(result, meta)
        for file in sorted(folder.iterdir()):
            storage.replace(join(place, file.name), file.read_bytes())


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
