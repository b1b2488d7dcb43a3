"""Metrics computed from a real store, here and in other processes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from distributed import LocalCluster

from actstore.errors import CorruptShardError, MissingShardsError, UnknownNameError
from actstore.metrics import (
    METRICS,
    MetricsRequest,
    compute_metrics,
    curvature,
    dataset_entropy,
    effective_rank,
    lens_entropy,
    lens_kl_layer_to_final,
    linear_cka,
    prompt_entropy,
    uniformity,
)
from actstore.metrics.registry import default_metrics
from actstore.metrics.running import chosen, graph, readers, sources
from actstore.metrics.running.plan import make_plan
from actstore.store import LensHead, open_store
from actstore.store.heads.head_ops import Linear
from tests.metrics.small_store import (
    MODEL,
    N_BLOCKS,
    N_TEXTS,
    SmallStore,
    small_head,
    small_spec,
    small_store,
)

LAYERS = range(N_BLOCKS + 1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    """A small store with every metric of everything."""
    small = small_store(tmp_path_factory.mktemp("measured"), views=True)
    report = compute_metrics(small.store, MetricsRequest(MODEL))
    assert len(report.records) == n_values()
    assert report.not_possible == ()
    return small


def n_values() -> int:
    """Of all metrics at all layers of both checkpoints: the first layer has none before it."""
    over = [metric.over for metric in default_metrics()]
    return 2 * (len(LAYERS) * len(over) - over.count("pairs"))


@pytest.fixture
def fresh(tmp_path: Path) -> SmallStore:
    return small_store(tmp_path, views=True)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that this little store falls into many, each a task of its own."""
    monkeypatch.setattr(sources, "_PIECE_BYTES", 8 * 12 * 20)
    monkeypatch.setattr(sources, "_TOKENS", 30)
    monkeypatch.setattr(sources, "_LENS_TOKENS", 30)
    monkeypatch.setattr(graph, "_WHOLE_BYTES", 0)


SOURCES = {
    "pooled": "mean_pool",
    "pairs": "mean_pool/against=previous_layer",
    "views": "views/small/mean_pool",
    "tokens": "tokens/sample",
    "lens": "tokens/sample",
}


def values_of(small: SmallStore) -> Callable[[str, str, int], float]:
    """(metric, checkpoint, layer) -> what is stored now."""
    stored = small.store.metrics()["value"].sel(model=MODEL)

    def value(metric: str, checkpoint: str, layer: int) -> float:
        source = SOURCES[METRICS[metric].over]
        return float(stored.sel(checkpoint=checkpoint, layer=layer, metric=metric, source=source))

    return value


@pytest.mark.parametrize("checkpoint", ["step0", "step1000"])
@pytest.mark.parametrize("layer", LAYERS)
def test_stored_values_are_those_of_the_plain_functions(
    measured: SmallStore, checkpoint: str, layer: int
) -> None:
    rows = measured.pooled[checkpoint][layer][measured.store.source_rows()]
    texts = [text[layer] for text in measured.tokens[checkpoint]]
    final = np.concatenate([text[-1] for text in measured.tokens[checkpoint]])
    divergence = lens_kl_layer_to_final(np.concatenate(texts), final, measured.head)
    expected = {
        "dataset_entropy": dataset_entropy(rows),
        "effective_rank": effective_rank(rows),
        "prompt_entropy": np.nanmean([prompt_entropy(text) for text in texts]),
        "curvature": np.nanmean([curvature(text) for text in texts]),
    }
    value = values_of(measured)
    for name, number in expected.items():
        assert value(name, checkpoint, layer) == pytest.approx(number, rel=1e-9)
    found = value("lens_kl_layer_to_final", checkpoint, layer)
    assert found == pytest.approx(divergence.mean(), abs=1e-5)


def test_the_last_layer_does_not_diverge_from_itself(measured: SmallStore) -> None:
    value = values_of(measured)
    for name in ("lens_kl_layer_to_final", "lens_kl_final_to_layer"):
        assert value(name, "step0", N_BLOCKS) == 0.0
        assert value(name, "step0", 0) > 0.5


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
    assert report.reused == n_values()


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
    request = MetricsRequest(MODEL, checkpoints=("step1000",))
    works = make_plan(fresh.store, request).works
    pieces = {work.job.source: len(work.pieces) for work in works}
    assert min(pieces.values()) > 2
    compute_metrics(fresh.store, request)
    found, expected = values_of(fresh), values_of(measured)
    for metric in default_metrics():
        tolerance = 1e-5 if metric.over == "lens" else 1e-9  # lens logits are float32
        for layer in LAYERS[metric.over == "pairs" :]:
            at = (metric.name, "step1000", layer)
            assert found(*at) == pytest.approx(expected(*at), rel=tolerance), at


@pytest.mark.usefixtures("small_pieces")
def test_two_processes_give_the_values_of_one(fresh: SmallStore, measured: SmallStore) -> None:
    report = compute_metrics(fresh.store, MetricsRequest(MODEL, layers="0,3", workers=2))
    assert {record.layer for record in report.records} == {0, 3}
    expected = values_of(measured)
    for record in report.records:
        at = (record.metric, record.checkpoint, record.layer)
        assert record.value == pytest.approx(expected(*at), rel=1e-5, abs=1e-6)
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
        request = MetricsRequest(MODEL, metrics=("effective_rank",), dask=cluster.scheduler_address)
        report = compute_metrics(fresh.store, request)
    expected = effective_rank(fresh.pooled["step0"][2][fresh.store.source_rows()])
    [found] = [r for r in report.records if (r.checkpoint, r.layer) == ("step0", 2)]
    assert found.value == pytest.approx(expected)


def test_an_error_in_a_worker_arrives_as_itself(fresh: SmallStore) -> None:
    group = fresh.store.checkpoint(MODEL, "step0")
    shard = min((fresh.store.path / group.prefix / "mean_pool").glob("c.*"))
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
        (MetricsRequest(MODEL, tasks=("STS12",)), "'STS12'"),
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
    views, tokens, lens, *_ = report.not_possible
    assert "actstore views" in views
    assert "--tokens 200" in tokens
    assert "--tokens 200" in lens
    assert tokens.startswith("curvature, ")


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
    request = MetricsRequest(MODEL, metrics=("effective_rank",), layers="1", tasks=("Some",))
    report = compute_metrics(fresh.store, request)
    assert {record.source for record in report.records} == {"mean_pool/Some"}
    assert [record.n for record in report.records] == [4, 4]
    expected = effective_rank(fresh.pooled["step0"][1][rows])
    assert report.records[0].value == pytest.approx(expected)


def test_the_summary_says_what_was_done_and_left_out(tmp_path: Path) -> None:
    small = small_store(tmp_path, sample=False)
    request = MetricsRequest(MODEL, layers="0", checkpoints=("step0",))
    computed, *left_out = compute_metrics(small.store, request).summary().splitlines()
    n_pooled = sum(metric.over == "pooled" for metric in default_metrics())
    assert re.fullmatch(rf"{n_pooled} metric values computed in \d+\.\d s\.", computed)
    assert len(left_out) == 3
    assert all(line.startswith("Left out: ") for line in left_out)
    assert f", {n_pooled} already there." in compute_metrics(small.store, request).summary()


def test_the_summary_counts_values_that_are_undefined(tmp_path: Path) -> None:
    small = small_store(tmp_path, longest=2)
    request = MetricsRequest(MODEL, metrics=("curvature",), layers="0")
    expected = "2 are NaN: it is not defined for any of them."
    assert expected in compute_metrics(small.store, request).summary()


def table_of(small: SmallStore, request: MetricsRequest) -> pd.DataFrame:
    """The values of a request, by source and layer."""
    report = compute_metrics(small.store, request)
    assert report.records
    table = small.store.metric_table()
    return table[table["metric"].isin(request.metrics)].set_index(["source", "layer"]).sort_index()


def test_a_sample_is_over_so_many_texts_and_named(fresh: SmallStore) -> None:
    names = ("effective_rank", "uniformity", "curvature")
    request = MetricsRequest(MODEL, metrics=names, checkpoints=("step0",), layers="1", sample=50)
    compute_metrics(fresh.store, request)
    compute_metrics(fresh.store, replace(request, seed=3))
    table = fresh.store.metric_table().set_index(["source", "metric"])
    assert table.loc[("mean_pool/sample=50", "effective_rank"), "n"] == 50
    assert table.loc[("mean_pool/sample=50", "uniformity"), "n"] == 50
    one, other = (
        table.loc[(f"mean_pool/sample=50{seed}", "effective_rank"), "value"]
        for seed in ("", "/seed=3")
    )
    assert one != other
    assert "tokens/sample/sample=50" in table.index.get_level_values("source")


def test_all_pairs_are_of_a_bounded_sample_and_the_rest_of_all(
    fresh: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "ALL_PAIRS", 40)
    names = ("effective_rank", "uniformity")
    table = table_of(
        fresh, MetricsRequest(MODEL, metrics=names, checkpoints=("step0",), layers="2")
    )
    assert dict(zip(table["metric"], table["n"], strict=True)) == {
        "effective_rank": N_TEXTS,
        "uniformity": 40,
    }
    rows = fresh.store.source_rows()
    drawn = rows[np.argsort(chosen.row_hash(rows, 0))[:40]]
    expected = uniformity(fresh.pooled["step0"][2][drawn])
    found = table.set_index("metric").loc["uniformity", "value"]
    assert found == pytest.approx(expected)


def test_rows_of_views_are_no_texts_of_their_own(fresh: SmallStore) -> None:
    assert len(fresh.store.text_rows()) > N_TEXTS
    names = ("effective_rank",)
    table = table_of(
        fresh, MetricsRequest(MODEL, metrics=names, checkpoints=("step0",), layers="2")
    )
    assert table["n"].tolist() == [N_TEXTS]


def test_means_have_intervals_and_the_numbers_of_their_texts(measured: SmallStore) -> None:
    table = measured.store.metric_table().set_index(["checkpoint", "layer", "metric"])
    record = table.loc[("step0", 1, "prompt_entropy")]
    assert record["low"] < record["value"] < record["high"]
    assert record["interval"] == "jackknife over texts, 95%"
    texts = measured.store.metric_values(MODEL, "prompt_entropy").sel(checkpoint="step0", layer=1)
    assert texts["text"].values.tolist() == list(range(20))
    expected = [prompt_entropy(text[1]) for text in measured.tokens["step0"]]
    np.testing.assert_allclose(texts.values, expected, rtol=1e-9)
    assert np.nanmean(texts.values) == pytest.approx(record["value"])


def test_other_metrics_have_intervals_if_asked_for(fresh: SmallStore) -> None:
    request = MetricsRequest(
        MODEL, metrics=("top_pc_share", "uniformity"), checkpoints=("step0",), layers="1"
    )
    assert table_of(fresh, request)["interval"].tolist() == ["", ""]
    report = compute_metrics(fresh.store, replace(request, interval_groups=10))
    assert report.reused == 0
    for record in report.records:
        assert record.interval == "jackknife over 10 groups of texts, 95%"
        assert record.low < record.value < record.high
    assert compute_metrics(fresh.store, replace(request, interval_groups=10)).reused == 2


def test_a_layer_is_compared_with_the_one_asked_for(fresh: SmallStore) -> None:
    against = ("previous_layer", "previous_checkpoint", "layer:0")
    request = MetricsRequest(MODEL, metrics=("linear_cka",), against=against)
    compute_metrics(fresh.store, request)
    value = fresh.store.metrics()["value"].sel(model=MODEL, metric="linear_cka")
    rows = fresh.store.source_rows()
    one, other = (fresh.pooled[name][:, rows] for name in ("step0", "step1000"))
    expected = {
        ("previous_layer", "step0", 2): linear_cka(one[2], one[1]),
        ("previous_checkpoint", "step1000", 2): linear_cka(other[2], one[2]),
        ("layer:0", "step1000", 3): linear_cka(other[3], other[0]),
        ("layer:0", "step1000", 0): np.nan,
        ("previous_checkpoint", "step0", 1): np.nan,
    }
    for (rule, checkpoint, layer), number in expected.items():
        source = f"mean_pool/against={rule}"
        found = float(value.sel(source=source, checkpoint=checkpoint, layer=layer))
        assert found == pytest.approx(number, nan_ok=True)


def test_another_lens_is_another_source(fresh: SmallStore) -> None:
    request = MetricsRequest(
        MODEL, metrics=("lens_entropy",), checkpoints=("step0",), lenses=("final", "raw")
    )
    table = table_of(fresh, request)
    final, raw = (table.loc[f"tokens/sample{lens}", "value"] for lens in ("", "/lens=raw"))
    assert (final != raw).all()
    states = np.concatenate([text[1] for text in fresh.tokens["step0"]])
    bare = LensHead((Linear("unembedding", None),), fresh.head.arrays, 0.0)
    assert raw[1] == pytest.approx(lens_entropy(states, bare).mean(), abs=1e-5)


def test_milestones_see_all_layers_whichever_are_asked_for(
    fresh: SmallStore, measured: SmallStore
) -> None:
    name = "lens_kl_below_1_reached"
    request = MetricsRequest(MODEL, metrics=(name,), checkpoints=("step0",), layers="2")
    [record] = compute_metrics(fresh.store, request).records
    assert record.value == values_of(measured)(name, "step0", 2)


def test_another_head_makes_lens_metrics_anew(fresh: SmallStore) -> None:
    request = MetricsRequest(MODEL, metrics=("lens_entropy",), checkpoints=("step0",), layers="1")
    before = compute_metrics(fresh.store, request).records[0]
    rng = np.random.default_rng(99)
    fresh.store.checkpoint(MODEL, "step0").write_head(small_head(rng))
    report = compute_metrics(fresh.store, request)
    assert report.reused == 0
    assert report.records[0].value != before.value


def test_states_that_are_not_finite_give_nan_a_count_and_a_reason(tmp_path: Path) -> None:
    small = small_store(tmp_path, views=True, broken_row=7)
    report = compute_metrics(small.store, MetricsRequest(MODEL, checkpoints=("step0",)))
    pooled = [record for record in report.records if record.source == "mean_pool"]
    assert pooled
    for record in pooled:
        assert np.isnan(record.value), record.metric
        assert "not finite" in record.reason
    tokens = [record for record in report.records if record.source == "tokens/sample"]
    assert all(np.isfinite(record.value) for record in tokens)


def test_a_graph_grows_with_the_shards_and_not_with_the_texts(fresh: SmallStore) -> None:
    [work] = make_plan(
        fresh.store,
        MetricsRequest(MODEL, metrics=("uniformity",), layers="1", checkpoints=("step0",)),
    ).works
    whole = graph.job_graph(work)
    assert len(dict(whole.__dask_graph__())) == 1
    pieces = tuple(np.arange(i * 4096, (i + 1) * 4096) for i in range(64))
    large = graph.job_graph(replace(work, pieces=pieces, n_bytes=2**40))
    assert len(dict(large.__dask_graph__())) < 64 * 1.2 + 3


def test_what_takes_as_long_as_all_others_is_computed_if_it_is_named(
    fresh: SmallStore, measured: SmallStore
) -> None:
    assert "lens_js" not in measured.store.metrics()["metric"]
    request = MetricsRequest(MODEL, metrics=("lens_js",), checkpoints=("step0",), layers="1,3")
    first, last = compute_metrics(fresh.store, request).records
    assert 0 < first.value < 1
    assert last.value == 0


def test_long_texts_are_read_a_few_tokens_at_a_time(
    fresh: SmallStore, measured: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_PART_BYTES", 0)
    monkeypatch.setattr(readers, "_FEWEST_TOKENS", 7)
    names = ("lens_cross_entropy", "lens_copy_reached", "lens_rank_le_5_reached")
    request = MetricsRequest(MODEL, metrics=names, checkpoints=("step0",))
    expected = values_of(measured)
    for record in compute_metrics(fresh.store, request).records:
        at = (record.metric, "step0", record.layer)
        assert record.value == pytest.approx(expected(*at), rel=1e-5)
