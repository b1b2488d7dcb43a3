"""Collect MTEB tasks into the store and evaluate stored layers on them, without a model."""

from __future__ import annotations

from actstore.evaluate.collection.collect import CollectionReport, collect
from actstore.evaluate.scoring.encoder import StoreEncoder
from actstore.evaluate.scoring.planning import EvaluationPlan, EvaluationRequest, plan_evaluation
from actstore.evaluate.scoring.runner import EvaluationReport, UnitFailure, evaluate
from actstore.evaluate.suites.resolve import SUITES, SuiteRow, list_suites, resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection

__all__ = [
    "SUITES",
    "CollectionReport",
    "EvaluationPlan",
    "EvaluationReport",
    "EvaluationRequest",
    "StoreEncoder",
    "Suite",
    "SuiteRow",
    "TaskSelection",
    "UnitFailure",
    "collect",
    "evaluate",
    "list_suites",
    "plan_evaluation",
    "resolve_suite",
]
