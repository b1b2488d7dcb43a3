"""Metrics of a store: plan, compute, record."""

from __future__ import annotations

import time

from actstore.metrics.running.graph import job_graph
from actstore.metrics.running.plan import Plan, make_plan
from actstore.metrics.running.request import MetricsReport, MetricsRequest
from actstore.metrics.running.schedule import computing
from actstore.metrics.running.work import Measured
from actstore.progress import progress
from actstore.store import MetricRecord, Store


def compute_metrics(store: Store, request: MetricsRequest) -> MetricsReport:
    """Compute metrics for every checkpoint and layer asked for, and record them in the store.

    Values the store has for the same inputs and definition are kept unless `request.overwrite`.
    Each value is recorded as soon as it is there: a run that is stopped goes on where it was.
    Raises UnknownNameError and MissingShardsError as `make_plan` does, before anything is read.
    """
    start = time.perf_counter()
    plan = make_plan(store, request)
    records = _compute(store, request, plan) if plan.works else []
    seconds = time.perf_counter() - start
    return MetricsReport(tuple(records), plan.reused, plan.not_possible, seconds)


def _compute(store: Store, request: MetricsRequest, plan: Plan) -> list[MetricRecord]:
    records: list[MetricRecord] = []
    total = sum(len(work.job.layers) for work in plan.works)
    with (
        computing(request, store) as compute,
        progress(f"Metrics of {request.model}", total, "layer") as advance,
    ):
        measured: Measured
        for measured in compute(job_graph(work) for work in plan.works):
            if measured.values:
                store.keep_metric_values(measured.values_key, measured.rows, measured.values)
            store.record_metrics(measured.records)
            records += measured.records
            advance(measured.n_layers)
    return records
