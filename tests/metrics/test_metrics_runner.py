"""Metrics computed from a real store, here and in other processes."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from distributed import LocalCluster

from actstore.errors import CorruptShardError, MissingShardsError, UnknownNameError
from actstore.metrics import (
    METRICS,
    MetricsRequest,
    all_metrics,
    compute_metrics,
    curvature,
    dataset_entropy,
    effective_rank,
    lens_kl_layer_to_final,
    prompt_entropy,
)
from actstore.metrics.running import graph, work
from actstore.store import open_store
from tests.metrics.small_store import MODEL, N_BLOCKS, N_TEXTS, SmallStore, small_spec, small_store

LAYERS = range(N_BLOCKS + 1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    """A small store with every metric of everything."""
    small = small_store(tmp_path_factory.mktemp("measured"))
    report = compute_metrics(small.store, MetricsRequest(MODEL))
    assert len(report.records) == 2 * len(LAYERS) * len(METRICS)
    assert report.not_possible == ()
    return small


@pytest.fixture
def fresh(tmp_path: Path) -> SmallStore:
    return small_store(tmp_path)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that this little store falls into many."""
    monkeypatch.setattr(graph, "_CHUNK_BYTES", 8 * 12 * 20)
    monkeypatch.setattr(graph, "_TOKENS", 30)
    monkeypatch.setattr(work, "_READ_BYTES", 4 * 4 * 12 * 7)


def value(small: SmallStore, metric: str, checkpoint: str, layer: int) -> float:
    source = "mean_pool" if METRICS[metric].over == "pooled" else "tokens/sample"
    found = small.store.metrics()["value"].sel(
        model=MODEL, checkpoint=checkpoint, layer=layer, metric=metric, source=source
    )
    return float(found)


@pytest.mark.parametrize("checkpoint", ["step0", "step1000"])
@pytest.mark.parametrize("layer", LAYERS)
def test_stored_values_are_those_of_the_plain_functions(
    measured: SmallStore, checkpoint: str, layer: int
) -> None:
    rows = measured.pooled[checkpoint][layer]
    texts = [text[layer] for text in measured.tokens[checkpoint]]
    final = np.concatenate([text[-1] for text in measured.tokens[checkpoint]])
    divergence = lens_kl_layer_to_final(np.concatenate(texts), final, measured.head)
    expected = {
        "dataset_entropy": dataset_entropy(rows),
        "effective_rank": effective_rank(rows),
        "prompt_entropy": np.nanmean([prompt_entropy(text) for text in texts]),
        "curvature": np.nanmean([curvature(text) for text in texts]),
    }
    for name, number in expected.items():
        assert value(measured, name, checkpoint, layer) == pytest.approx(number, rel=1e-9)
    found = value(measured, "lens_kl_layer_to_final", checkpoint, layer)
    assert found == pytest.approx(divergence.mean(), abs=1e-5)


def test_the_last_layer_does_not_diverge_from_itself(measured: SmallStore) -> None:
    for name in ("lens_kl_layer_to_final", "lens_kl_final_to_layer"):
        assert value(measured, name, "step0", N_BLOCKS) == 0.0
        assert value(measured, name, "step0", 0) > 0.5


def test_values_come_with_counts_definitions_and_units(measured: SmallStore) -> None:
    table = measured.store.metric_table().set_index(["checkpoint", "layer", "metric"])
    pooled = table.loc[("step0", 1, "effective_rank")]
    assert pooled["n"] == N_TEXTS
    assert "Roy & Vetterli" in pooled["definition"]
    assert pooled["unit"] == "dimensions"
    short = sum(text.shape[1] < 3 for text in measured.tokens["step0"])
    assert short > 0
    curved = table.loc[("step0", 1, "curvature")]
    assert (curved["n"], curved["n_undefined"]) == (20 - short, short)


def test_a_second_run_computes_nothing(measured: SmallStore) -> None:
    report = compute_metrics(measured.store, MetricsRequest(MODEL))
    assert report.records == ()
    assert report.reused == 2 * len(LAYERS) * len(METRICS)


def test_overwrite_computes_again(measured: SmallStore) -> None:
    request = MetricsRequest(MODEL, metrics=("curvature",), layers="0", overwrite=True)
    assert len(compute_metrics(measured.store, request).records) == 2


def test_a_run_completes_what_another_began(fresh: SmallStore) -> None:
    first = MetricsRequest(MODEL, metrics=("curvature", "lens_entropy"), layers="1,2")
    assert len(compute_metrics(fresh.store, first).records) == 8
    both = MetricsRequest(MODEL, metrics=("curvature", "lens_entropy"))
    report = compute_metrics(fresh.store, both)
    assert report.reused == 8
    assert {r.layer for r in report.records} == {0, 3}


def test_values_of_other_texts_are_computed_again(fresh: SmallStore) -> None:
    request = MetricsRequest(MODEL, metrics=("effective_rank",), checkpoints=("step0",))
    compute_metrics(fresh.store, request)
    fresh.store.add_texts(["one more text"])
    with pytest.raises(MissingShardsError, match="actstore extract"):
        compute_metrics(fresh.store, request)


@pytest.mark.usefixtures("small_pieces")
def test_many_small_pieces_give_the_same_values(fresh: SmallStore, measured: SmallStore) -> None:
    pieces = graph.row_pieces(fresh.store.text_rows(), 20)
    assert len(pieces) == 12
    compute_metrics(fresh.store, MetricsRequest(MODEL, checkpoints=("step1000",)))
    for metric in all_metrics():
        tolerance = 1e-5 if metric.over == "lens" else 1e-9  # lens logits are float32
        for layer in LAYERS:
            found = value(fresh, metric.name, "step1000", layer)
            expected = value(measured, metric.name, "step1000", layer)
            assert found == pytest.approx(expected, rel=tolerance), (metric.name, layer)


@pytest.mark.usefixtures("small_pieces")
def test_two_processes_give_the_values_of_one(fresh: SmallStore, measured: SmallStore) -> None:
    report = compute_metrics(fresh.store, MetricsRequest(MODEL, layers="0,3", workers=2))
    assert len(report.records) == 2 * 2 * len(METRICS)
    for record in report.records:
        expected = value(measured, record.metric, record.checkpoint, record.layer)
        assert record.value == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert len(open_store(fresh.store.url).metric_table()) == len(report.records)


def test_a_script_without_a_main_guard_can_use_processes(fresh: SmallStore, tmp_path: Path) -> None:
    """Workers that imported the script again would start workers of their own."""
    script = tmp_path / "script.py"
    script.write_text(
        "from actstore import open_store\n"
        "from actstore.metrics import MetricsRequest, compute_metrics\n"
        "print('once')\n"
        f"request = MetricsRequest({MODEL!r}, metrics=('top_pc_share',), workers=2)\n"
        f"print(len(compute_metrics(open_store({fresh.store.url!r}), request).records))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "8"]
    assert done.stderr == ""


def test_a_scheduler_that_runs_already_can_be_used(fresh: SmallStore) -> None:
    with LocalCluster(
        n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        request = MetricsRequest(
            MODEL, metrics=("effective_rank",), scheduler=cluster.scheduler_address
        )
        report = compute_metrics(fresh.store, request)
    expected = effective_rank(fresh.pooled["step0"][2])
    [found] = [r for r in report.records if (r.checkpoint, r.layer) == ("step0", 2)]
    assert found.value == pytest.approx(expected)


def test_an_error_in_a_worker_arrives_as_itself(fresh: SmallStore) -> None:
    group = fresh.store.checkpoint(MODEL, "step0")
    shard = next(p for p in (fresh.store.path / group.prefix / "mean_pool").glob("c.*"))
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(CorruptShardError, match="damaged"):
        compute_metrics(fresh.store, MetricsRequest(MODEL, metrics=("effective_rank",)))


def test_the_plain_functions_need_no_dask() -> None:
    code = "import sys, actstore.metrics; sys.exit('dask' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_metric_is_refused_before_anything_is_read(fresh: SmallStore) -> None:
    with pytest.raises(UnknownNameError, match="'curvature'"):
        compute_metrics(fresh.store, MetricsRequest(MODEL, metrics=("curvatur",)))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (MetricsRequest("someone/else"), "no model in this store 'someone/else'"),
        (MetricsRequest(MODEL, checkpoints=("step100",)), "'step1000'"),
        (MetricsRequest(MODEL, layers="7"), "no layer 7"),
        (MetricsRequest(MODEL, poolings=("mena",)), "'mean'"),
        (MetricsRequest(MODEL, token_samples=("smaple",)), "'sample'"),
        (MetricsRequest(MODEL, task="STS12"), "'STS12'"),
    ],
    ids=lambda p: "" if isinstance(p, str) else repr(p)[25:60],
)
def test_names_that_do_not_exist_are_refused(
    measured: SmallStore, request_: MetricsRequest, message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        compute_metrics(measured.store, request_)


def test_a_layer_that_was_not_extracted_is_refused(tmp_path: Path) -> None:
    small = small_store(tmp_path)
    few = replace(small_spec("step7"), layers=(0, 2))
    small.store.begin_checkpoint(few)
    with pytest.raises(UnknownNameError, match="stored without the layers 1, 3; it has 0, 2"):
        compute_metrics(
            small.store, MetricsRequest(MODEL, checkpoints=("step7",), layers="0,1,2,3")
        )


def test_token_metrics_without_a_sample_name_the_command(tmp_path: Path) -> None:
    small = small_store(tmp_path, sample=False)
    with pytest.raises(MissingShardsError, match=r"actstore extract .*--tokens 200"):
        compute_metrics(small.store, MetricsRequest(MODEL, metrics=("prompt_entropy",)))


def test_lens_metrics_without_a_head_name_the_command(tmp_path: Path) -> None:
    small = small_store(tmp_path, head=False)
    with pytest.raises(MissingShardsError, match=r"actstore extract .*--lens-head"):
        compute_metrics(small.store, MetricsRequest(MODEL, metrics=("lens_entropy",)))


def test_metrics_nobody_named_are_left_out_with_the_reason(tmp_path: Path) -> None:
    small = small_store(tmp_path, sample=False)
    report = compute_metrics(small.store, MetricsRequest(MODEL, layers="0"))
    assert {METRICS[record.metric].over for record in report.records} == {"pooled"}
    assert len(report.not_possible) == 4  # tokens and lens, of two checkpoints
    assert all("--tokens 200" in note for note in report.not_possible)
    assert report.not_possible[0].startswith("curvature, prompt_entropy: ")


def test_values_that_are_undefined_are_stored_as_such_and_counted(tmp_path: Path) -> None:
    small = small_store(tmp_path, longest=2)
    request = MetricsRequest(MODEL, metrics=("curvature",), checkpoints=("step0",), layers="0")
    report = compute_metrics(small.store, request)
    assert report.undefined == 1
    [row] = small.store.metric_table().to_dict("records")
    assert np.isnan(row["value"])
    assert (row["n"], row["n_undefined"]) == (0, 20)
    assert "not defined" in row["reason"]
    assert compute_metrics(small.store, request).reused == 1


def test_a_task_restricts_the_texts(fresh: SmallStore) -> None:
    rows = [9, 2, 40, 7]
    calls = pa.table(
        {
            "split": ["test"],
            "subset": ["default"],
            "prompt_type": [""],
            "rows": pa.array([rows], pa.list_(pa.int64())),
        }
    )
    fresh.store.write_task("Some", {}, calls, {})
    request = MetricsRequest(MODEL, metrics=("effective_rank",), layers="1", task="Some")
    report = compute_metrics(fresh.store, request)
    assert {record.source for record in report.records} == {"mean_pool/Some"}
    assert [record.n for record in report.records] == [4, 4]
    expected = effective_rank(fresh.pooled["step0"][1][rows])
    assert report.records[0].value == pytest.approx(expected)


def test_the_summary_says_what_was_done_and_left_out(tmp_path: Path) -> None:
    small = small_store(tmp_path, sample=False)
    request = MetricsRequest(MODEL, layers="0", checkpoints=("step0",))
    computed, *left_out = compute_metrics(small.store, request).summary().splitlines()
    assert re.fullmatch(r"5 metric values computed in \d+\.\d s\.", computed)
    assert len(left_out) == 2
    assert all(line.startswith("Left out: ") for line in left_out)
    assert ", 5 already there." in compute_metrics(small.store, request).summary()


def test_the_summary_counts_values_that_are_undefined(tmp_path: Path) -> None:
    small = small_store(tmp_path, longest=2)
    request = MetricsRequest(MODEL, metrics=("curvature",), layers="0")
    assert "2 of them are NaN" in compute_metrics(small.store, request).summary()
