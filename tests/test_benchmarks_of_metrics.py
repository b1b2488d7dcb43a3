"""The benchmarks of metrics with the clock off: the sides they compare are of the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actstore.metrics import effective_rank, prompt_entropy, resolve_metrics
from benchmarks import metrics, metrics_lens, metrics_spectra, metrics_tokens, metrics_workers
from benchmarks.timing import target_table


def test_spectra_are_of_the_rows_that_the_floor_multiplies() -> None:
    cases = metrics_spectra.spectra_cases(60, 8)
    states = metrics_spectra.states_like_a_models(60, 8)
    floor, together = cases[metrics_spectra.FLOOR](), cases[metrics_spectra.TOGETHER]()
    wide = states.astype(np.float64)
    np.testing.assert_allclose(floor, np.linalg.eigvalsh(wide.T @ wide))
    assert set(together) == set(metrics_spectra.METRICS)
    assert together["effective_rank"] == pytest.approx(effective_rank(states))


def test_entropies_are_of_the_gram_matrices_of_the_floor() -> None:
    cases = metrics_tokens.token_cases(12, 1, 16, median=6)
    spectra = cases[metrics_tokens.SPECTRA]()
    assert sum(len(some) for some in spectra) == 12
    pieces = metrics_tokens.pieces_of_a_layer(12, 16, 0, 6)
    entropies = [prompt_entropy(text) for piece in pieces for text in piece.texts()]
    found = metrics_tokens.token_values(pieces)["prompt_entropy"]
    assert len(found) == len(pieces) == 1
    assert found[0] == pytest.approx(np.nanmean(entropies))
    assert cases[metrics_tokens.TOGETHER]() == metrics_tokens.token_values(pieces)


def test_the_lens_has_both_heads_and_its_memory_is_counted() -> None:
    given = metrics_lens.lens_input(8, 16, 3, 500)
    cases = metrics_lens.lens_cases(given)
    whole, half = cases[metrics_lens.LENS](), cases[metrics_lens.HALF]()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, half[name])  # its numbers fit float16
    assert metrics_lens.peak_bytes(given) > 8 * 3 * 8


def test_two_workers_compute_what_one_does(tmp_path: Path) -> None:
    rows = metrics_workers.workers_rows(tmp_path, rows=40, hidden=8, layers=2, rounds=1)
    assert "x as fast" in target_table(list(rows))


def test_every_benchmark_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["--rows", "50", "--hidden", "8", "--prompts", "5", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["metrics", "--only", "spectra,tokens", *small])
    metrics.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["spectra", "tokens", "tokens"]
    assert sum(line.startswith("| ") for line in lines) == 2 + 3


def test_measured_metrics_are_registered() -> None:
    for names in (metrics_spectra.METRICS, metrics_tokens.METRICS, metrics_workers.METRICS):
        assert [metric.name for metric in resolve_metrics(names)] == list(names)
