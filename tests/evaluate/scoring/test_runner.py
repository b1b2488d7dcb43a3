"""Evaluations in real processes: the scores, resuming, failures and interruptions."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mteb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mteb.cache import ResultCache

from actstore.errors import (
    CorruptShardError,
    InvalidInputError,
    MissingShardsError,
    UnknownNameError,
)
from actstore.evaluate import (
    EvaluationReport,
    EvaluationRequest,
    StoreEncoder,
    Suite,
    TaskSelection,
    collect,
    evaluate,
    plan_evaluation,
)
from actstore.evaluate.scoring.conditions import Conditions
from actstore.evaluate.scoring.worker import Evaluator
from actstore.store import FailedUnit, Store, open_store
from actstore.store.status.evaluation import evaluation_status
from tests.support.mteb_data import SmallHub, VectorModel, leaves, scores_of
from tests.support.vector_store import MODEL, N_LAYERS, suite_of, vector_store

SUITE = ("STS17", "AskUbuntuDupQuestions", "CEDRClassification")
CHECKPOINTS = ("step1", "step10")


def request_of(**changes: Any) -> EvaluationRequest:
    settings: dict[str, Any] = {"suite": "small", "poolings": ("mean",)}
    return EvaluationRequest(MODEL, **{**settings, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_hub: SmallHub) -> Store:
    folder = tmp_path_factory.mktemp("runner")
    return vector_store(folder, suite_of(*SUITE), checkpoints=CHECKPOINTS)


@dataclass(frozen=True)
class Runs:
    """Two evaluations: the first found one layer of one checkpoint damaged on the disk."""

    store: Store
    damaged: EvaluationReport
    failures: tuple[FailedUnit, ...]
    """As `actstore status` shows them after the first."""
    repaired: EvaluationReport


@pytest.fixture(scope="module")
def runs(store: Store) -> Runs:
    with damaged_layer(store, "step10", 1):
        first = evaluate(store, request_of(workers=2))
    failures = evaluation_status(store).failures
    return Runs(store, first, failures, evaluate(store, request_of()))


@pytest.fixture(scope="module")
def evaluated(runs: Runs) -> Store:
    return runs.store


@contextmanager
def damaged_layer(store: Store, checkpoint: str, layer: int) -> Iterator[None]:
    """Flip a bit in every stored chunk of a layer; afterwards all is as it was."""
    layout = store.checkpoint(MODEL, checkpoint).layout
    folder = store.path / "models" / "org__vectors" / checkpoint / "mean_pool"
    whole = {path: path.read_bytes() for path in folder.glob("c*")}
    for path, data in whole.items():
        damaged = bytearray(data)
        for chunk in range(layout.chunks_per_layer):
            damaged[(layer * layout.chunks_per_layer + chunk) * layout.stride + 5] ^= 0xFF
        path.write_bytes(damaged)
    yield
    for path, data in whole.items():
        path.write_bytes(data)


def test_units_that_fail_are_named_and_the_rest_goes_on(runs: Runs) -> None:
    report = runs.damaged
    assert (report.evaluated, report.skipped) == (15, 0)
    assert {failure.unit for failure in report.failures} == {
        f"{name} at step10, layer 1, pooling mean" for name in SUITE
    }
    for failure in report.failures:
        assert failure.error.startswith("CorruptShardError")
        assert "Traceback" in failure.trace


def test_failures_are_kept_until_they_are_scored(runs: Runs) -> None:
    assert {(one.task, one.checkpoint, one.layer) for one in runs.failures} == {
        (name, "step10", 1) for name in SUITE
    }
    for failure in runs.failures:
        assert failure.error.startswith("CorruptShardError")
        assert "read_states" in failure.traceback
    status = evaluation_status(runs.store)
    assert status.failures == ()
    assert [(one.checkpoint, one.n_layers, one.n_tasks) for one in status.scored] == [
        ("step1", N_LAYERS, len(SUITE)),
        ("step10", N_LAYERS, len(SUITE)),
    ]


def test_every_score_says_under_which_conditions_it_was_computed(evaluated: Store) -> None:
    (used,) = evaluated.scores()["environment"].unique()
    conditions = evaluated.score_environments()[used]
    assert conditions == json.loads(json.dumps(Conditions().to_json()))
    assert (conditions["threads"], conditions["versions"]["mteb"]) == (1, mteb.__version__)


def test_the_same_evaluation_again_does_what_failed(runs: Runs) -> None:
    report = runs.repaired
    assert (report.suite, report.evaluated, report.skipped) == ("small", 3, 15)
    assert report.failures == ()


def test_every_score_is_what_mteb_gives_for_the_same_vectors(evaluated: Store) -> None:
    table = evaluated.scores().set_index(["checkpoint", "layer", "task"])
    assert len(table) == len(SUITE) * len(CHECKPOINTS) * N_LAYERS
    for name in SUITE:
        splits, subsets = suite_of(name).tasks[0].splits, suite_of(name).tasks[0].subsets
        for index, checkpoint in enumerate(CHECKPOINTS):
            for layer in range(N_LAYERS):
                task = mteb.get_task(name, eval_splits=splits, hf_subsets=subsets)
                model = VectorModel(index * N_LAYERS + layer)
                expected = scores_of(model, task)["test"][0]["main_score"]
                assert table.loc[(checkpoint, layer, name), "main_score"] == expected


def test_the_score_table_has_what_a_score_depends_on(evaluated: Store) -> None:
    table = evaluated.scores()
    row = table[(table.task == "STS17") & (table.checkpoint == "step10")].iloc[2]
    assert (row.model, row.step, row.layer, row.pooling) == (MODEL, 10, 2, "mean")
    assert (row.task_type, row.split, row.subset, row.in_average) == ("STS", "test", "en-en", True)
    assert row.mteb_version == mteb.__version__
    assert row.evaluation_seconds > 0
    leaves = evaluated.score_leaves("STS17").set_index(["checkpoint", "layer"]).loc[("step10", 2)]
    assert leaves.cosine_spearman == leaves.main_score == row.main_score
    assert "cosine_pearson" in leaves
    assert table.groupby("task")["inputs_digest"].nunique().to_dict() == dict.fromkeys(SUITE, 2)


def test_mteb_reads_the_results_with_its_own_cache(evaluated: Store) -> None:
    cache = ResultCache(evaluated.results_path)
    results = cache.load_results(tasks=[*SUITE], load_experiments="match_name")
    experiments = {(r.model_revision, r.experiment_name) for r in results.model_results}
    assert experiments == {
        (checkpoint, f"layer_{layer}__pooling_mean")
        for checkpoint in CHECKPOINTS
        for layer in range(N_LAYERS)
    }
    encoder = StoreEncoder(evaluated, MODEL, checkpoint="step1", layer=1, pooling="mean")
    result = cache.load_task_result("AskUbuntuDupQuestions", encoder.mteb_model_meta)
    assert result is not None
    table = evaluated.scores().set_index(["checkpoint", "layer", "task"])
    score = table.loc[("step1", 1, "AskUbuntuDupQuestions"), "main_score"]
    assert result.get_score() == pytest.approx(score, abs=1e-6)


def test_what_was_scored_is_skipped_until_its_inputs_change(evaluated: Store) -> None:
    assert plan_evaluation(evaluated, request_of()).todo == ()
    again = plan_evaluation(evaluated, request_of(overwrite=True))
    assert (len(again.todo), again.skipped) == (18, 0)
    bundle = evaluated.task("STS17")
    tables = {name: bundle.table(name) for name in ("000-en-en.test",)}
    calls = bundle.calls()
    evaluated.write_task("STS17", {**bundle.manifest, "digest": "new"}, calls, tables)
    try:
        plan = plan_evaluation(evaluated, request_of())
        assert {unit.task.name for unit in plan.todo} == {"STS17"}
        assert len(plan.todo) == 6
    finally:
        evaluated.write_task("STS17", bundle.manifest, calls, tables)


def test_nothing_to_do_starts_no_process(evaluated: Store) -> None:
    before = len(multiprocessing.active_children())
    report = evaluate(evaluated, request_of(workers=8))
    assert (report.evaluated, report.skipped, report.failures) == (0, 18, ())
    assert len(multiprocessing.active_children()) == before


def test_a_layers_score_does_not_depend_on_the_layers_before(store: Store) -> None:
    """Multilabel classification draws from the task object's generator: it is set back."""
    units = [u for u in plan_evaluation(store, request_of(overwrite=True)).todo if multilabel(u)]
    evaluator = Evaluator(open_store(store.url), Conditions())
    in_turn = [leaves(scores(evaluator, unit)) for unit in units[:2]]
    alone = leaves(scores(Evaluator(open_store(store.url), Conditions()), units[1]))
    assert in_turn[1] == alone
    assert in_turn[0] != alone


def multilabel(unit: Any) -> bool:
    return bool(unit.task.name == "CEDRClassification")


def scores(evaluator: Evaluator, unit: Any) -> Any:
    return evaluator.evaluate(unit).scores


def test_what_is_missing_is_said_before_a_process_starts(tmp_path: Path) -> None:
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",))
    for changes, says in (
        ({"suite": "SICK-R"}, f"actstore collect {store.url} --suite SICK-R"),
        ({"suite": "STSBenchmarks"}, "'STSBenchmark'"),
        ({"checkpoints": ("step2",)}, "step1"),
        ({"poolings": ("meann",)}, "'mean'"),
        ({"layers": "9"}, "no layer 9"),
    ):
        with pytest.raises(UnknownNameError, match=says):
            evaluate(store, request_of(**changes))
    with pytest.raises(InvalidInputError, match="1 worker of 1 thread or more, not 0 of 1"):
        evaluate(store, request_of(workers=0))
    collect(store, suite_of("STSBenchmark", "AskUbuntuDupQuestions"))
    with pytest.raises(MissingShardsError, match="actstore extract"):
        evaluate(store, request_of())
    assert store.scores().empty


def test_a_task_of_another_data_revision_is_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",))
    bundle = store.task("STSBenchmark")
    other = {**bundle.manifest, "dataset": {**bundle.manifest["dataset"], "revision": "0" * 40}}
    store.write_task("STSBenchmark", other, bundle.calls(), {"000-test": bundle.table("000-test")})
    with pytest.raises(InvalidInputError, match=r"from revision 0{40} of its data.* pins b0"):
        evaluate(store, request_of())


def test_an_altered_text_is_found_before_anything_is_scored_with_it(tmp_path: Path) -> None:
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",))
    part = store.path / "texts" / "part-00000.parquet"
    table = pq.read_table(part)
    texts = ["another text", *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(1, "text", pa.array(texts, pa.string())), part)
    evaluator = Evaluator(open_store(store.url), Conditions())
    unit = plan_evaluation(open_store(store.url), request_of()).todo[0]
    with pytest.raises(CorruptShardError, match=r"texts/part-00000.parquet of .* is damaged"):
        evaluator.evaluate(unit)


def test_more_threads_are_another_score(store: Store) -> None:
    one, two = (
        plan_evaluation(store, request_of(overwrite=True, conditions=Conditions(threads=n))).todo
        for n in (1, 2)
    )
    assert all(a.key == b.key and a.inputs != b.inputs for a, b in zip(one, two, strict=True))


def test_a_visible_gpu_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the GPU; that processes of our own see none is tested with their scores."""
    unit = plan_evaluation(store, request_of(overwrite=True)).todo[0]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(InvalidInputError, match="CUDA_VISIBLE_DEVICES="):
        Evaluator(store, Conditions()).evaluate(unit)


def test_a_subset_that_was_not_collected_is_refused(store: Store) -> None:
    task = TaskSelection.of_all("STS17", ["test"], ["en-en", "en-de"])
    with pytest.raises(InvalidInputError, match="STS17 without en-de"):
        evaluate(store, request_of(suite=Suite("wider", "", (task,))))


def test_a_task_collected_with_another_mteb_is_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path, suite_of("STSBenchmark"), checkpoints=("step1",))
    bundle = store.task("STSBenchmark")
    older = {**bundle.manifest, "versions": {**bundle.manifest["versions"], "mteb": "2.20.0"}}
    store.write_task("STSBenchmark", older, bundle.calls(), {"000-test": bundle.table("000-test")})
    with pytest.raises(InvalidInputError, match=r"with mteb 2.20.0, installed is .*pip install"):
        evaluate(store, request_of())


_RUN = """
import sys
from actstore.evaluate import EvaluationRequest, evaluate
from actstore.store import open_store
if __name__ == "__main__":
    evaluate(open_store(sys.argv[1]), EvaluationRequest("org/vectors", "small", poolings=("mean",)))
"""


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_scored_and_leaves_no_process(tmp_path: Path) -> None:
    names = tuple(f"step{i}" for i in range(8))
    suite = suite_of("AmazonCounterfactualClassification")
    store = vector_store(tmp_path, suite, checkpoints=names)
    script = tmp_path / "run.py"
    script.write_text(_RUN)
    process = subprocess.Popen(
        [sys.executable, str(script), store.url], start_new_session=True, stderr=subprocess.PIPE
    )
    while store.scores().empty:
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors
    until = time.monotonic() + 20
    while living_in_group(process.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert living_in_group(process.pid) == []
    done = store.scores()[["checkpoint", "layer"]].drop_duplicates()
    plan = plan_evaluation(store, request_of())
    assert 0 < len(done) < 24
    assert plan.skipped == len(done)


def living_in_group(group: int) -> list[str]:
    """Processes of a process group, those that ended and wait to be reaped left out."""
    listed = subprocess.run(["ps", "-Ao", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [row[-1] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]
