"""Metrics and fitted lenses in shares: each checkpoint once, whole."""

from __future__ import annotations

from pathlib import Path

from actstore.metrics import LensFitRequest, MetricsRequest, compute_metrics, fit_lens
from actstore.shares import Share
from tests.metrics.small_store import MODEL, small_store


def test_two_shares_are_everything_and_of_different_checkpoints(tmp_path: Path) -> None:
    store = small_store(tmp_path / "shared").store
    asked = ("effective_rank", "linear_cka", "lens_entropy")
    reports = [
        compute_metrics(store, MetricsRequest(MODEL, metrics=asked, share=Share(index, 2)))
        for index in range(2)
    ]
    found = [{record.checkpoint for record in report.records} for report in reports]
    assert found == [{"step0"}, {"step1000"}]
    whole = small_store(tmp_path / "whole").store
    compute_metrics(whole, MetricsRequest(MODEL, metrics=asked))
    key = ["checkpoint", "layer", "metric", "source", "value"]
    assert store.metric_table()[key].equals(whole.metric_table()[key])


def test_a_share_compares_with_checkpoints_of_other_shares(tmp_path: Path) -> None:
    store = small_store(tmp_path).store
    request = MetricsRequest(
        MODEL, metrics=("linear_cka",), against=("previous_checkpoint",), share=Share(1, 2)
    )
    assert {record.checkpoint for record in compute_metrics(store, request).records} == {"step1000"}


def test_a_share_of_no_checkpoint_succeeds(tmp_path: Path) -> None:
    store = small_store(tmp_path).store
    empty = Share(0, 9)
    assert compute_metrics(store, MetricsRequest(MODEL, share=empty)).records == ()
    assert fit_lens(store, LensFitRequest(MODEL, share=empty)).fits == ()


def test_a_share_fits_the_lenses_that_its_metrics_need(tmp_path: Path) -> None:
    store = small_store(tmp_path).store
    second = Share(1, 2)
    fits = fit_lens(store, LensFitRequest(MODEL, kinds=("mean_shift",), share=second)).fits
    assert {fit.checkpoint for fit in fits} == {"step1000"}
    request = MetricsRequest(MODEL, metrics=("lens_entropy",), lenses=("mean_shift",), share=second)
    assert {record.checkpoint for record in compute_metrics(store, request).records} == {"step1000"}
