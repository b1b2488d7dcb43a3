"""The benchmark of precisions with the clock off: stores written anew, read, scored by metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actstore.store.shards import ENCODINGS
from benchmarks import precision
from benchmarks.precision import Settings, compared, metrics_of, target_table, written_anew
from benchmarks.precision_ways import by_row, centred, error, made_up, table
from tests.metrics.small_store import MODEL, SmallStore, small_store

ERRORS = {"exact": 5e-4, "compact": 4e-3, "small": 8e-3}
STEADY = ("effective_rank", "dataset_entropy", "prompt_entropy", "curvature", "lens_entropy")
"""Metrics that follow states smoothly."""
SETTINGS = Settings(
    MODEL, ("step0", "step1000"), metrics=(*STEADY, "lens_copy_collapse"), repeats=1
)


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return small_store(tmp_path_factory.mktemp("float32"))


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_a_store_written_anew_differs_by_its_precision_alone(
    float32: SmallStore, tmp_path: Path, name: str
) -> None:
    store = written_anew(float32.store, tmp_path / "anew.zarr", SETTINGS, name)
    groups = [store.checkpoint(MODEL, one) for one in SETTINGS.checkpoints]
    assert {group.spec.precision for group in groups} == {name}
    errors, kept = compared(groups, float32.store, SETTINGS, store.text_rows())
    assert sorted(errors) == [0, 1, 2, 3]
    assert 0 < max(errors.values()) < ERRORS[name]
    assert 0.9 < kept <= 1
    sample, given = (
        one.checkpoint(MODEL, "step0").token_sample("sample") for one in (store, float32.store)
    )
    for ours, theirs in zip(sample.spans.values, given.spans.values, strict=True):
        found, wanted = sample.states(2, *ours[1:]), given.states(2, *theirs[1:])
        assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_metrics_hardly_see_the_precision(float32: SmallStore, tmp_path: Path, name: str) -> None:
    store = written_anew(float32.store, tmp_path / "anew.zarr", SETTINGS, name)
    found, wanted = metrics_of(store, SETTINGS), metrics_of(float32.store, SETTINGS)
    assert list(found.index) == list(wanted.index)
    for metric in STEADY:
        np.testing.assert_allclose(found[metric], wanted[metric], rtol=0.02)
    assert not np.array_equal(found["effective_rank"], wanted["effective_rank"])


def test_the_table_names_every_precision(
    float32: SmallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "reference", lambda *_: float32.store)
    monkeypatch.setattr(
        precision,
        "scores_of",
        lambda store, settings: metrics_of(store, settings)["effective_rank"].rename_axis(
            ["checkpoint", "layer", "task"]
        ),
    )
    table = target_table(precision.precision_rows(SETTINGS, tmp_path))
    for line in table.splitlines()[2:]:
        assert all(f"{name} " in line for name in ENCODINGS)


def test_ways_to_store_8_bits_are_told_apart_by_states_of_residual_streams() -> None:
    cases = made_up(n=300, hidden=768)
    for states in cases.values():
        assert error(states, centred) < 0.01
    assert error(cases["massive, the same in every text"], by_row) > 0.05
    assert all(name in table(cases) for name in cases)


def test_speeds_are_of_every_precision() -> None:
    (row,) = precision.speed_rows([64], 1)
    assert all(f"{name} " in row.measured for name in ENCODINGS)
