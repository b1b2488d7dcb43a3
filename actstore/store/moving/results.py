"""Scores and metrics: what both stores have, each at its latest."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from actstore.refs import checkpoint_key, model_key
from actstore.store.moving.objects import copy_missing
from actstore.store.moving.records import Record, add_records
from actstore.store.moving.rows import RowMap
from actstore.store.records.ledger import digest
from actstore.store.results.kept import FITS, METRIC_VALUES, keep, read_kept
from actstore.store.results.records import MTEB_RESULTS
from actstore.store.storage import Storage

SCORE_JOURNALS = ("scores/leaves", "scores/journal", "scores/failures")
"""Leaves come first: a score always has its own."""
METRIC_JOURNAL = "metrics/journal"
_ENVIRONMENTS = "scores/environments"
_POOL = "_pool"


@dataclass(frozen=True)
class ResultFilter:
    """Which results are meant; None: all."""

    checkpoints: Collection[tuple[str, str]] | None = None
    """(model, checkpoint)."""
    layers: Collection[int] | None = None
    poolings: Collection[str] | None = None
    """As they are stored."""
    tasks: Collection[str] | None = None
    of_tokens: bool = True
    """Whether metrics of token states, which have no pooling, are meant if poolings are named."""

    def __call__(self, record: Record) -> bool:
        place = (record["model"], record["checkpoint"])
        return (
            (self.checkpoints is None or place in self.checkpoints)
            and (self.layers is None or record["layer"] in self.layers)
            and (self.poolings is None or self._has_pooling(record))
            and (self.tasks is None or "task" not in record or record["task"] in self.tasks)
        )

    def _has_pooling(self, record: Record) -> bool:
        pooling = _pooling_of(record)
        return self.of_tokens if pooling is None else pooling in (self.poolings or ())

    def keeps_file(self, key: str) -> bool:
        """Whether an object of mteb's results is of such a checkpoint and task."""
        parts = key.removeprefix(f"{MTEB_RESULTS}/results/").split("/")
        if self.checkpoints is not None and not any(
            parts[0] in (model_key(model), f"local__{model_key(model)}")
            and checkpoint_key(checkpoint) in parts[1:2]
            for model, checkpoint in self.checkpoints
        ):
            return False
        name = parts[-1].removesuffix(".json")
        return self.tasks is None or name in self.tasks or name == "model_meta"


def move_results(source: Storage, target: Storage, meant: ResultFilter, rows: RowMap) -> int:
    """Add the results that only the source has; how many records there were."""
    copy_missing(source, target, _ENVIRONMENTS)
    added = sum(add_records(source, target, folder, _if(meant)) for folder in SCORE_JOURNALS)
    copy_missing(source, target, MTEB_RESULTS, meant.keeps_file)
    return added + _move_metrics(source, target, meant, rows)


def move_fits(source: Storage, target: Storage) -> None:
    """Copy what was fitted to states and is used again: its key says all that it depends on."""
    copy_missing(source, target, FITS)


def _move_metrics(source: Storage, target: Storage, meant: ResultFilter, rows: RowMap) -> int:
    moved: dict[str, str] = {}

    def change(record: Record) -> Record | None:
        if not meant(record):
            return None
        key = record.get("values", "")
        if not key:
            return record
        if key not in moved:
            moved[key] = _move_values(source, target, key, rows)
        return {**record, "values": moved[key]}

    return add_records(source, target, METRIC_JOURNAL, change)


def _move_values(source: Storage, target: Storage, key: str, rows: RowMap) -> str:
    """Copy the numbers of single texts; the key that they have in the target."""
    values: dict[str, Any] | None = read_kept(source, METRIC_VALUES, key)
    if values is None:
        return key  # missing in the source too: whoever asks is told
    found = rows.to_target(values["row"])
    if not rows.keeps(values["row"]):
        key = f"{key}/rows={digest(found.tobytes())}"
    keep(target, METRIC_VALUES, key, {**values, "row": found})
    return key


def _if(meant: ResultFilter) -> Callable[[Record], Record | None]:
    return lambda record: record if meant(record) else None


def _pooling_of(record: Record) -> str | None:
    """The pooling that a score or metric is of; None for what is made of tokens."""
    if "pooling" in record:
        return str(record["pooling"])
    array = str(record.get("source", "")).split("/")[0]
    return array.removesuffix(_POOL) if array.endswith(_POOL) else None
