"""The store: one Zarr v3 hierarchy of texts, tasks, states and results."""

from __future__ import annotations

from actstore.store.arrays import Shard
from actstore.store.bundles import NO_ROW, TaskBundle
from actstore.store.checkpoint import CheckpointGroup
from actstore.store.describe import StoreInfo, describe_store
from actstore.store.evaluation_status import EvaluationStatus, FailedUnit, evaluation_status
from actstore.store.head import LensHead
from actstore.store.journal import Json
from actstore.store.ledger import ShardStats
from actstore.store.lenses import StoredLens
from actstore.store.metric_journal import MetricRecord
from actstore.store.plan import CheckpointSpec
from actstore.store.results import EvaluationFailure, ScoreRecord
from actstore.store.shards import ShardBuilder, ShardLayout
from actstore.store.status import CheckpointStatus, StoreStatus, extraction_status
from actstore.store.store import Store, create_store, open_store
from actstore.store.tokens import TokenisedText, TokenSample
from actstore.store.verify import Note, Problem, Repaired, VerifyReport, verify_store
from actstore.store.views import ViewSet

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
