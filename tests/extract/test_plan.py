"""What a plan says before anything runs, against what the run then does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actstore.errors import DiskSpaceError, PlanMismatchError, UnknownNameError
from actstore.extract import ExtractionRequest, TokenSampleRequest, extract, plan_extraction
from actstore.store import Store
from actstore.store.storage import LocalStorage
from tests.extract.conftest import CHECKPOINTS
from tests.support.extraction import N_TEXTS, request_of
from tests.support.tiny_models import HIDDEN, N_BLOCKS, VOCABULARY


def of_all(folder: Path, **changes: Any) -> ExtractionRequest:
    return request_of(folder, **{"checkpoints": CHECKPOINTS, **changes})


def array_bytes(store: Store) -> int:
    """Of all shards of states in the store."""
    return sum(
        path.stat().st_size
        for folder in ("mean_pool", "mean_normed_pool", "states")
        for path in store.path.rglob(f"{folder}/c.*")
    )


def test_a_plan_counts_texts_tokens_and_bytes_as_the_run_then_does(
    store: Store, pythia_folder: Path
) -> None:
    request = of_all(pythia_folder, max_tokens=20)
    plan = plan_extraction(store, request)
    report = extract(store, request)
    assert [one.shards_to_do for one in plan.checkpoints] == [3, 3, 3]
    assert plan.n_texts == N_TEXTS
    for one in report.checkpoints:
        assert (plan.n_tokens, plan.n_truncated) == (one.n_tokens, one.n_truncated)
    assert plan.bytes_to_write == array_bytes(store)


def test_planning_reads_no_weights(
    store: Store, pythia_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("safetensors.safe_open", fail)
    monkeypatch.setattr("actstore.extract.checkpoints.weights.weights_digest", fail)
    before = sorted(store.path.rglob("*"))
    assert plan_extraction(store, of_all(pythia_folder)).n_tokens > 0
    assert sorted(store.path.rglob("*")) == before


def test_what_is_done_is_not_planned_again(store: Store, pythia_folder: Path) -> None:
    extract(store, of_all(pythia_folder, checkpoints=("step0",)))
    plan = plan_extraction(store, of_all(pythia_folder))
    done = [(one.shards_to_do, one.shards_done) for one in plan.checkpoints]
    assert done == [(0, 3), (3, 0), (3, 0)]
    assert plan.checkpoints[0].bytes_to_write == 0


def test_a_plan_covers_the_token_sample_and_the_head(store: Store, pythia_folder: Path) -> None:
    request = of_all(pythia_folder, checkpoints=("step0",))
    sample = TokenSampleRequest("sample", range(20))
    plain = plan_extraction(store, request).bytes_to_write
    sampled = plan_extraction(
        store, of_all(pythia_folder, checkpoints=("step0",), token_sample=sample)
    )
    headed = plan_extraction(store, of_all(pythia_folder, checkpoints=("step0",), lens_head=True))
    extract(store, of_all(pythia_folder, checkpoints=("step0",), token_sample=sample))
    assert sampled.bytes_to_write == array_bytes(store)
    assert headed.bytes_to_write - plain == VOCABULARY * HIDDEN * 4


def test_a_plan_reads_in_a_few_lines(store: Store, pythia_folder: Path) -> None:
    summary = plan_extraction(store, of_all(pythia_folder, max_tokens=20)).summary()
    assert "3 checkpoints (step0, step16, step64)" in summary
    assert f"{N_BLOCKS + 1} layers (0..{N_BLOCKS}) x {HIDDEN} values in float16" in summary
    assert "150 texts" in summary
    assert "texts are cut at 20 tokens" in summary
    assert "9 shards to do, 0 done" in summary


def test_a_disk_that_is_too_small_is_told_before_anything_runs(
    store: Store, pythia_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: 1000)
    for run in (plan_extraction, extract):
        with pytest.raises(DiskSpaceError, match=r"writes .* kB and .* has 1 kB free"):
            run(store, of_all(pythia_folder))
    assert store.models() == []


def test_a_plan_names_unknown_checkpoints_and_other_plans(
    store: Store, pythia_folder: Path
) -> None:
    with pytest.raises(UnknownNameError, match="'step16'"):
        plan_extraction(store, of_all(pythia_folder, checkpoints=("step17",)))
    extract(store, of_all(pythia_folder, checkpoints=("step0",)))
    with pytest.raises(PlanMismatchError, match="max_tokens: the store has 64, asked is 8"):
        plan_extraction(store, of_all(pythia_folder, max_tokens=8))


def test_another_checkpoint_must_cut_texts_as_the_first_did(
    store: Store, pythia_folder: Path
) -> None:
    extract(store, of_all(pythia_folder, checkpoints=("step0",), max_tokens=32))
    with pytest.raises(PlanMismatchError, match=r"step0 and others.*max_tokens: the store has 32"):
        plan_extraction(store, of_all(pythia_folder, checkpoints=("step16",)))


@pytest.mark.parametrize(("precision", "used"), [("compact", N_TEXTS / 192), ("small", 1)])
def test_a_plan_says_what_each_precision_takes(
    store: Store, pythia_folder: Path, precision: str, used: float
) -> None:
    """used: of the bytes of full shards; compressed rows without a text take next to nothing."""
    request = of_all(pythia_folder, precision=precision)
    plan = plan_extraction(store, request)
    extract(store, request)
    written, sizes = array_bytes(store), plan.bytes_by_precision
    assert written <= plan.bytes_to_write
    assert written == pytest.approx(sizes[precision] * used, rel=0.15)
    assert sizes["exact"] > sizes["compact"] > sizes["small"]
    assert f"stored {precision}" in plan.summary()
    assert f" {precision}; with another --precision: " in plan.summary()


def test_a_precision_that_there_is_not_is_told_before_anything_runs(
    store: Store, pythia_folder: Path
) -> None:
    with pytest.raises(UnknownNameError, match="precision 'smal'.*Did you mean 'small'"):
        plan_extraction(store, of_all(pythia_folder, precision="smal"))


def test_a_checkpoint_of_another_precision_is_another_plan(
    store: Store, pythia_folder: Path
) -> None:
    extract(store, of_all(pythia_folder, checkpoints=("step0",)))
    with pytest.raises(PlanMismatchError, match="precision: the store has 'exact', asked is 'sm"):
        plan_extraction(store, of_all(pythia_folder, precision="small"))
