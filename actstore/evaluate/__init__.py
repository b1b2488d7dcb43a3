"""Collect MTEB tasks into the store and evaluate stored layers on them, without a model."""

from __future__ import annotations

from actstore.evaluate.collect import CollectionReport, collect
from actstore.evaluate.encoder import StoreEncoder
from actstore.evaluate.planning import EvaluationPlan, EvaluationRequest, plan_evaluation
from actstore.evaluate.runner import EvaluationReport, UnitFailure, evaluate
from actstore.evaluate.suites import (
    SUITES,
    Suite,
    SuiteRow,
    TaskSelection,
    list_suites,
    resolve_suite,
)

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
