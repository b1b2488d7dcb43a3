"""The store: one Zarr v3 hierarchy of texts, tasks, states and results."""

from __future__ import annotations

from actstore.store.arrays.sharded import Shard
from actstore.store.arrays.tokens import TokenisedText, TokenSample
from actstore.store.bundles import NO_ROW, TaskBundle
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.heads.head import LensHead
from actstore.store.heads.lenses import StoredLens
from actstore.store.records.journal import Json
from actstore.store.records.ledger import ShardStats
from actstore.store.records.plan import CheckpointSpec
from actstore.store.results.metric_journal import MetricRecord
from actstore.store.results.records import EvaluationFailure, ScoreRecord
from actstore.store.shards import ShardBuilder, ShardLayout
from actstore.store.status.describe import StoreInfo, describe_store
from actstore.store.status.evaluation import EvaluationStatus, FailedUnit, evaluation_status
from actstore.store.status.extraction import CheckpointStatus, StoreStatus, extraction_status
from actstore.store.store import Store, create_store, open_store
from actstore.store.texts.views import ViewSet
from actstore.store.verify import Note, Problem, Repaired, VerifyReport, verify_store

__all__ = [
    "NO_ROW",
    "CheckpointGroup",
    "CheckpointSpec",
    "CheckpointStatus",
    "EvaluationFailure",
    "EvaluationStatus",
    "FailedUnit",
    "Json",
    "LensHead",
    "MetricRecord",
    "Note",
    "Problem",
    "Repaired",
    "ScoreRecord",
    "Shard",
    "ShardBuilder",
    "ShardLayout",
    "ShardStats",
    "Store",
    "StoreInfo",
    "StoreStatus",
    "StoredLens",
    "TaskBundle",
    "TokenSample",
    "TokenisedText",
    "VerifyReport",
    "ViewSet",
    "create_store",
    "describe_store",
    "evaluation_status",
    "extraction_status",
    "open_store",
    "verify_store",
]
