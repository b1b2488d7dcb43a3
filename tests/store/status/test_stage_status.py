"""How far stages are, told from what the store holds and from what runs logged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actstore.store import MetricRecord, ScoreRecord, Store, create_store
from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Leases
from actstore.store.status.asked import Asked, AskedModel
from actstore.store.status.stage_status import StageStatus, overview, waiting_stages
from tests.support.states import MODEL, commit_known, known_store, spec

NAME = "exp"
STAGES = ("collect", "extract", "eval", "metrics", "report")


def asked(**changes: Any) -> Asked:
    """Two checkpoints, two tasks, layers 1 and 2; `changes` override fields."""
    model = AskedModel("all", "1-2", ("step1", "step2"), 2)
    fields: dict[str, Any] = {
        "name": NAME,
        "stages": STAGES,
        "models": {MODEL: model},
        "tasks": ("A", "B"),
    }
    return Asked(**{**fields, **changes})


def stages(store: Store, wanted: Asked | None = None) -> dict[str, StageStatus]:
    return {one.stage: one for one in overview(store, wanted).stages}


def counts(one: StageStatus) -> tuple[str, int, int | None, str]:
    return one.state, one.done, one.total, one.unit


def score(store: Store, task: str, layer: int, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "model": MODEL,
        "checkpoint": "step1",
        "layer": layer,
        "pooling": "mean_normed",
        "task": task,
        "task_type": "STS",
        "split": "test",
        "subset": "default",
        "main_score": 0.5,
        "scores": {},
        "in_average": True,
        "evaluation_seconds": 1.0,
        "mteb_version": "2",
        "inputs_digest": "d",
    }
    store.record_scores([ScoreRecord(**{**fields, **changes})])


def value(checkpoint: str, layer: int, metric: str) -> MetricRecord:
    return MetricRecord(
        model=MODEL,
        checkpoint=checkpoint,
        layer=layer,
        metric=metric,
        source="mean_pool",
        value=float("nan"),
        n=3,
        reason="constant",
        unit="bits",
        definition="1",
        inputs="d",
    )


def log(store: Store, *events: tuple[str, str], share: str | None = None, name: str = NAME) -> None:
    """What one run of this process says of stages: (stage, state)."""
    run = RunLog(store.storage, command=["actstore"], settings={"name": name})
    for stage, state in events:
        more = {"error": "OSError", "message": "gone"} if state == "failed" else {}
        run.event("stage", stage=stage, state=state, experiment="d", share=share, **more)


def test_an_empty_store_shows_no_stage_and_an_experiment_all_of_its_own(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    assert stages(store) == {}
    found = stages(store, asked(stages=("extract", "report")))
    assert {name: counts(one) for name, one in found.items()} == {
        "extract": ("waiting", 0, None, "shards"),
        "report": ("waiting", 0, 1, "pages"),
    }
    states = [(one.stage, one.state) for one in waiting_stages(asked())]
    assert states == [(stage, "waiting") for stage in STAGES]


def test_shards_of_checkpoints_not_begun_yet_are_counted_like_the_others(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    assert counts(stages(store)["extract"]) == ("done", 5, 5, "shards")
    assert counts(stages(store, asked())["extract"]) == ("paused", 5, 10, "shards")
    second = store.begin_checkpoint(spec(checkpoint="step2"))
    second.begin_poolings(["mean"])
    for shard in second.todo(store.text_rows(), ["mean"])[:2]:
        commit_known(second, shard, ("mean",))
    with Leases(store.storage, seconds=60) as leases:
        leases.claim(f"{MODEL}/step2/pooled/3")
        found = stages(store, asked())["extract"]
    assert counts(found) == ("running", 7, 10, "shards")
    assert found.per_second is not None
    assert found.seconds_left == pytest.approx(3 / found.per_second)


def test_what_an_experiment_does_not_ask_for_is_not_counted(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    other = AskedModel("all", "all", ("step9",), 1)
    assert counts(stages(store, asked(models={MODEL: other}))["extract"])[1:3] == (0, None)
    assert counts(stages(store, asked(models={"org/other": other}))["extract"])[1:3] == (0, None)
    for task, layer, changes in (
        ("A", 1, {}),
        ("A", 1, {"subset": "other"}),  # of the same unit
        ("A", 2, {}),
        ("A", 3, {}),
        ("C", 1, {}),
        ("B", 1, {"pooling": "mean"}),
        ("B", 1, {"transform": "l2"}),
        ("B", 1, {"checkpoint": "step9"}),
        ("B", 1, {"model": "org/other"}),
    ):
        score(store, task, layer, **changes)
    assert counts(stages(store)["eval"]) == ("unknown", 8, None, "scores")
    assert counts(stages(store, asked())["eval"]) == ("paused", 2, 8, "scores")
    assert counts(stages(store, asked(tasks=None))["eval"])[1:3] == (3, None)


def test_combined_layers_are_one_score(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    one = AskedModel("all", "1-2", ("step1",), 1)
    wanted = asked(models={MODEL: one}, tasks=("A",), transforms=("", "mean+l2"))
    assert counts(stages(store, wanted)["eval"])[1:3] == (0, 3)
    score(store, "A", 2, transform="mean1-2+l2")
    score(store, "A", 1)
    score(store, "A", 2)
    assert counts(stages(store, wanted)["eval"]) == ("done", 3, 3, "scores")


def test_values_to_come_are_as_many_as_the_fullest_checkpoint_has(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    assert counts(stages(store, asked())["metrics"]) == ("waiting", 0, None, "values")
    store.record_metrics([value("step1", layer, "rank") for layer in (1, 2)])
    store.record_metrics([value("step1", 1, "rank")])  # computed again
    assert counts(stages(store, asked())["metrics"]) == ("paused", 2, 4, "values")
    store.record_metrics([value("step2", layer, "rank") for layer in (1, 2)])
    assert counts(stages(store, asked())["metrics"]) == ("done", 4, 4, "values")
    log(store, ("metrics", "began"))
    assert counts(stages(store, asked())["metrics"])[0] == "running"
    store.record_metrics([value("step1", 1, "another")])
    log(store, ("metrics", "finished"))
    assert counts(stages(store, asked())["metrics"])[0] == "running"  # the first run still is


def test_a_stage_runs_while_a_process_that_began_it_lives(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    log(store, ("eval", "began"))
    assert stages(store)["eval"].state == "running"
    program = (
        "import sys; from actstore.store import open_store;"
        "from actstore.store.records.runs import RunLog;"
        "log = RunLog(open_store(sys.argv[1]).storage, command=[], settings={'name': 'exp'});"
        "log.event('stage', stage='metrics', state='began', experiment='d', share=None)"
    )
    subprocess.run([sys.executable, "-c", program, store.url], check=True)
    assert stages(store)["metrics"].state == "paused"


def test_a_silent_process_of_another_machine_is_believed_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    log(store, ("eval", "began"))
    monkeypatch.setattr("actstore.store.status.stage_log.host_name", lambda: "elsewhere")
    assert stages(store)["eval"].state == "running"
    monkeypatch.setattr("actstore.store.status.stage_log._QUIET", -1.0)
    assert stages(store)["eval"].state == "paused"


def test_a_failure_is_told_until_a_later_run_mends_it(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    log(store, ("metrics", "began"), ("metrics", "failed"))
    found = stages(store, asked())["metrics"]
    assert (found.state, found.error) == ("failed", "OSError: gone")
    log(store, ("metrics", "began"), ("metrics", "failed"), name="another experiment")
    log(store, ("metrics", "began"), ("metrics", "finished"))
    found = stages(store, asked())["metrics"]
    assert (found.state, found.error) == ("done", None)


@pytest.mark.parametrize(
    ("shares", "state"),
    [
        ([("0/2", "finished")], "paused"),
        ([("0/2", "finished"), ("1/2", "finished")], "done"),
        ([("0/2", "failed"), ("1/2", "finished")], "failed"),
        ([("0/2", "failed")], "failed"),
        ([("0/2", "failed"), ("1/2", "finished"), ("0/2", "finished")], "done"),
        ([("0/2", "failed"), ("0/1", "finished")], "done"),
        ([("0/2", "finished"), ("1/2", "stopped")], "paused"),
    ],
)
def test_a_stage_is_done_when_all_its_shares_are(
    tmp_path: Path, shares: list[tuple[str, str]], state: str
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    for share, ended in shares:
        log(store, ("metrics", "began"), ("metrics", ended), share=share)
    assert stages(store)["metrics"].state == state


def test_a_run_that_finished_long_ago_does_not_make_what_was_added_since_done(
    tmp_path: Path,
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    log(store, ("extract", "began"), ("extract", "finished"))
    assert stages(store, asked())["extract"].state == "paused"


def test_the_report_is_done_when_its_page_is_there(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    page = tmp_path / "exp.html"
    assert stages(store, asked(report=page))["report"].state == "waiting"
    page.write_text("")
    assert counts(stages(store, asked(report=page))["report"]) == ("done", 1, 1, "pages")


def test_status_reads_each_journal_once(
    tmp_path: Path, count_reads: Callable[[], dict[str, int]]
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    score(store, "A", 1)
    store.record_metrics([value("step1", 1, "rank")])
    reads = count_reads()
    overview(store, asked())
    journals = {key: n for key, n in reads.items() if key.endswith(".jsonl") and "runs/" not in key}
    assert len(journals) == 3
    assert set(journals.values()) == {1}
    assert not [key for key in reads if key.endswith(".parquet")]


@pytest.fixture
def count_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """Counts how often each object is read from now on."""
    from actstore.store.storage import LocalStorage

    reads: dict[str, int] = {}
    read = LocalStorage.read

    def counted(self: LocalStorage, key: str) -> bytes:
        reads[key] = reads.get(key, 0) + 1
        return read(self, key)

    def begin() -> dict[str, int]:
        monkeypatch.setattr(LocalStorage, "read", counted)
        return reads

    return begin
