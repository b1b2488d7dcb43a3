"""Collect MTEB tasks into the store and evaluate stored layers on them, without a model."""

from __future__ import annotations

from actstore.evaluate.collection.collect import CollectionReport, collect
from actstore.evaluate.collection.fetch import fetch_suite
from actstore.evaluate.scoring.conditions import Conditions
from actstore.evaluate.scoring.encoder import StoreEncoder
from actstore.evaluate.scoring.planning import EvaluationPlan, EvaluationRequest, plan_evaluation
from actstore.evaluate.scoring.runner import EvaluationReport, UnitFailure, evaluate
from actstore.evaluate.scoring.transform import Transform
from actstore.evaluate.suites.describe import (
    SuiteDescription,
    SuiteRow,
    TaskDescription,
    describe_suite,
    list_suites,
)
from actstore.evaluate.suites.resolve import resolve_suite
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.evaluate.suites.shipped import SUITES

__all__ = [
    "SUITES",
    "CollectionReport",
    "Conditions",
    "EvaluationPlan",
    "EvaluationReport",
    "EvaluationRequest",
    "StoreEncoder",
    "Suite",
    "SuiteDescription",
    "SuiteRow",
    "TaskDescription",
    "TaskSelection",
    "Transform",
    "UnitFailure",
    "collect",
    "describe_suite",
    "evaluate",
    "fetch_suite",
    "list_suites",
    "plan_evaluation",
    "resolve_suite",
]
