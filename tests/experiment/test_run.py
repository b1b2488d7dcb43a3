"""Experiments run from their file: all stages, again, in parts, and with what can go wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actstore.errors import (
    InvalidInputError,
    MissingShardsError,
    NotAStoreError,
    PartlyDoneError,
    StoppedError,
)
from actstore.experiment.load import load_experiment
from actstore.experiment.record import experiment_digest
from actstore.experiment.run import run_experiment
from actstore.shares import Share
from actstore.store import Store, open_store
from actstore.store.records.runs import run_events
from tests.experiment.conftest import CHECKPOINTS, EXPERIMENT, TASKS, Write
from tests.support.mteb_data import SmallHub

N_SCORES = len(TASKS) * len(CHECKPOINTS) * 2

pytestmark = pytest.mark.usefixtures("small_hub")


def stage_events(store: Store) -> list[dict[str, Any]]:
    return [event for event in run_events(store.storage) if event["event"] == "stage"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Path, small_hub: SmallHub) -> Path:
    """An experiment file whose stages all ran once."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "neox").symlink_to(tiny / "neox")
    file = folder / "tiny.yaml"
    file.write_text(EXPERIMENT, "utf-8")
    run_experiment(load_experiment(file), file=file)
    return file


def test_one_file_runs_all_stages(finished: Path) -> None:
    store = open_store(finished.parent / "tiny.zarr")
    assert store.checkpoints("neox") == [*CHECKPOINTS]
    assert len(store.scores()) == N_SCORES
    assert set(store.scores()["layer"]) == {1, 2}
    assert set(store.metric_table()["metric"]) == {"effective_rank", "linear_cka"}
    assert (finished.parent / "tiny.html").stat().st_size > 10_000


def test_the_store_keeps_the_experiment_and_logs_every_stage(finished: Path) -> None:
    store = open_store(finished.parent / "tiny.zarr")
    digest = experiment_digest(load_experiment(finished))
    assert [kept.digest for kept in store.experiments()] == [digest]
    events = stage_events(store)[:10]
    stages = ("collect", "extract", "eval", "metrics", "report")
    assert [(event["stage"], event["state"]) for event in events] == [
        (stage, state) for stage in stages for state in ("began", "finished")
    ]
    assert {event["experiment"] for event in events} == {digest}


def test_run_again_it_computes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {p: p.stat().st_mtime_ns for p in finished.parent.rglob("*_pool/c.*")}
    n_values = len(open_store(finished.parent / "tiny.zarr").metric_table())
    run_experiment(load_experiment(finished), file=finished)
    said = capsys.readouterr().out
    assert "0 tasks collected, 2 were there" in said
    assert f"0 scores computed, {N_SCORES} were there" in said
    assert f"0 values computed, {n_values} were there" in said
    assert {p: p.stat().st_mtime_ns for p in finished.parent.rglob("*_pool/c.*")} == arrays


def test_what_is_done_is_sent_where_it_is_asked_for(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    experiment = load_experiment(finished, [f"tracking.tensorboard={tmp_path / 'board'}"])
    run_experiment(experiment, ["eval", "report"], file=finished)
    [run] = (tmp_path / "board").iterdir()
    assert run.name.startswith("tiny-all-")
    events = EventAccumulator(str(run)).Reload()
    [*_, last] = events.Tensors("eval/done")
    assert (last.step, last.tensor_proto.float_val[0]) == (1, N_SCORES)


def test_stages_and_overrides_choose_what_runs(write: Write) -> None:
    file = write()
    one = load_experiment(file, ["checkpoints=step10", "layers=2"])
    run_experiment(one, ["extract", "collect"])  # in their own order, whatever the given one
    store = open_store(one.store)
    assert store.checkpoints("neox") == ["step10"]
    assert store.checkpoint("neox", "step10").layers == (2,)
    assert store.scores().empty
    assert [event["stage"] for event in stage_events(store)] == ["collect"] * 2 + ["extract"] * 2


@pytest.mark.slow
def test_two_shares_are_everything_and_each_a_part(write: Write) -> None:
    file = write()
    experiment = load_experiment(file)
    run_experiment(experiment, ["collect", "extract"])
    store = open_store(experiment.store)
    counts = []
    for index in range(2):
        run_experiment(experiment, ["eval", "metrics"], Share(index, 2))
        counts.append((len(store.scores()), len(store.metric_table())))
    assert 0 < counts[0][0] < counts[1][0] == N_SCORES
    whole = load_experiment(write(EXPERIMENT.replace("tiny.zarr", "whole.zarr"), "whole.yaml"))
    run_experiment(whole, ["collect", "extract", "eval", "metrics"])
    key = ["checkpoint", "layer", "metric", "value"]
    other = open_store(whole.store)
    assert store.metric_table()[key].equals(other.metric_table()[key])
    key = ["checkpoint", "layer", "task", "main_score"]
    assert store.scores()[key].equals(other.scores()[key])
    assert {event["share"] for event in stage_events(store)} == {None, "0/2", "1/2"}


TEXTS = """\
name: texts
store: texts.zarr
model: ./neox
checkpoints: [step0, step20]
texts: {file: texts.txt}
tokens: {texts: 30}
views: {texts: 20, views: 3}
extract: {devices: cpu, threads: 1}
metrics:
  metrics: [effective_rank, alignment, lens_entropy]
  fit_lenses: [mean_shift]
  lenses: [final, mean_shift]
"""


def test_texts_of_a_file_with_views_and_fitted_lenses(write: Write) -> None:
    experiment = load_experiment(write(TEXTS))
    run_experiment(experiment, ["collect", "extract"])
    for index in (1, 0):  # each share fits the lenses that its own metrics need
        run_experiment(experiment, ["metrics"], Share(index, 2))
    store = open_store(experiment.store)
    values = store.metric_table()
    assert set(values["metric"]) == {"effective_rank", "alignment", "lens_entropy"}
    assert set(values["checkpoint"]) == {"step0", "step20"}
    assert values["source"].str.contains("mean_shift").any()
    assert store.view_set("default").rows.shape == (20, 3)


def test_more_shares_than_parts_leave_some_with_nothing(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment(write(TEXTS))
    run_experiment(experiment, ["collect", "extract"])
    run_experiment(experiment, ["metrics"], Share(0, 7))
    assert "Share 0/7 has nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stages", "error", "says"),
    [
        (["extract"], NotAStoreError, "is not an actstore store"),
        (["collect", "eval"], MissingShardsError, "no states of neox. Run the stage extract first"),
        (["collect", "report"], MissingShardsError, "neither scores nor metrics"),
        (["collect", "metrics"], MissingShardsError, "--stages extract"),
    ],
)
def test_a_stage_without_its_input_says_which_to_run_first(
    write: Write, stages: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        run_experiment(load_experiment(write()), stages)
    assert any("--stages" in text for text in [*raised.value.__notes__, str(raised.value)])


def test_extraction_of_other_texts_than_were_collected_is_told(write: Write) -> None:
    run_experiment(load_experiment(write()), ["collect"])
    other = load_experiment(write(), ["tasks=[STS17]"])
    with pytest.raises(MissingShardsError, match="Run the stage collect first"):
        run_experiment(other, ["extract"])


def test_checkpoints_that_were_not_extracted_are_named(write: Write) -> None:
    file = write()
    run_experiment(load_experiment(file, ["checkpoints=step10"]), ["collect", "extract"])
    with pytest.raises(MissingShardsError, match="no states of neox at step0, step20"):
        run_experiment(load_experiment(file), ["eval"])


@pytest.mark.parametrize("selection", ["last:3", "step2*"])
def test_checkpoints_that_cannot_be_told_yet_are_too(write: Write, selection: str) -> None:
    file = write()
    run_experiment(load_experiment(file, ["checkpoints=step10"]), ["collect", "extract"])
    with pytest.raises(MissingShardsError, match=r"Of neox in .* Run the stage extract first"):
        run_experiment(load_experiment(file, [f"checkpoints={selection}"]), ["metrics"])


def test_a_stage_that_fails_is_named_and_those_after_it_do_not_run(write: Write) -> None:
    file = write()
    one = load_experiment(file, ["checkpoints=[step0,step11]"])
    with pytest.raises(Exception, match="step11") as raised:
        run_experiment(one, file=file)
    assert raised.value.__notes__ == [
        "This ended the stage extract; not run: eval, metrics, report.",
        f"Once it is mended, go on with: actstore run {file} --stages extract,eval,metrics,report",
    ]
    last = stage_events(open_store(one.store))[-1]
    assert (last["stage"], last["state"]) == ("extract", "failed")
    assert "step11" in last["message"]


def test_scores_that_fail_fail_their_stage(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write()
    experiment = load_experiment(file)
    run_experiment(experiment, ["collect", "extract"])
    store = open_store(experiment.store)
    for shard in store.path.glob("models/neox/step10/mean_normed_pool/c*"):
        shard.write_bytes(b"damaged")
    with pytest.raises(PartlyDoneError, match=f"4 of {N_SCORES} scores") as raised:
        run_experiment(experiment, ["eval", "metrics"], file=file)
    assert "stage eval; not run: metrics" in raised.value.__notes__[0]
    assert len(store.scores()) == N_SCORES - 4


def test_a_signal_ends_any_stage_with_75_and_the_same_command_goes_on(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(write())
    run_experiment(experiment, ["collect", "extract"])
    store = open_store(experiment.store)
    record_scores = Store.record_scores

    def signalled(store: Store, records: Any) -> None:
        """As the first score is there."""
        record_scores(store, records)
        os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "record_scores", signalled)
        with pytest.raises(StoppedError) as raised:
            run_experiment(experiment, ["eval"])
    assert 0 < len(store.scores()) < N_SCORES
    assert raised.value.exit_code == 75
    assert stage_events(store)[-1]["state"] == "stopped"
    run_experiment(experiment, ["eval"])
    assert len(store.scores()) == N_SCORES


def test_only_eval_and_metrics_are_shared_out(write: Write) -> None:
    file = write()
    with pytest.raises(InvalidInputError, match="not collect, extract, report.*--stages eval"):
        run_experiment(load_experiment(file), share=Share(0, 2), file=file)
    assert not (file.parent / "tiny.zarr").exists()


def test_a_signal_while_a_task_is_loaded_ends_collecting_and_keeps_the_tasks_before(
    write: Write, small_hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(path: str, *arguments: Any, **options: Any) -> object:
        loaded.append(path)
        if len(loaded) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return small_hub.load_dataset(path, *arguments, **options)

    monkeypatch.setattr("mteb.abstasks.abstask.load_dataset", load)
    experiment = load_experiment(write(), ["tasks=[STSBenchmark,SICK-R,STS17]"])
    with pytest.raises(StoppedError, match="SIGTERM"):
        run_experiment(experiment, ["collect"])
    assert len(loaded) == 2
    assert open_store(experiment.store).tasks() == ["STSBenchmark"]
