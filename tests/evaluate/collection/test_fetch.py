"""What is fetched where there is a network is all that collecting needs where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, PartlyDoneError, UnknownNameError
from actstore.evaluate import Suite, TaskSelection, collect
from actstore.evaluate.collection.fetch import fetch_suite
from actstore.store import create_store
from tests.support.dataset_hub import DatasetHub, hub_of, serve
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import suite_of

NAMES = ("AskUbuntuDupQuestions", "MassiveIntentClassification", "STSBenchmark")


@pytest.fixture
def hub(small_hub: SmallHub) -> DatasetHub:
    return hub_of(small_hub, *NAMES)


@pytest.fixture
def cut_off(
    hub: DatasetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """The hub is within reach until this is called."""
    with serve(monkeypatch, hub, tmp_path / "cache") as cut:
        yield cut


def test_a_fetched_suite_is_collected_offline_as_it_is_online(
    cut_off: Callable[[], None], tmp_path: Path
) -> None:
    suite = suite_of(*NAMES)
    report = fetch_suite(suite)
    cut_off()
    store = create_store(tmp_path / "s.zarr")
    assert collect(store, suite).collected == NAMES
    read: dict[str, str] = {}
    for name in NAMES:
        read |= store.task(name).manifest["commits"]
    assert read == {snapshot.repo: snapshot.commit for snapshot in report.snapshots}
    assert "top_ranked" in str(store.task("AskUbuntuDupQuestions").manifest["shape"])


def test_the_report_tells_commits_files_and_bytes(hub: DatasetHub, cut_off: object) -> None:
    (snapshot,) = fetch_suite(suite_of("STSBenchmark")).snapshots
    files = hub.repos[snapshot.repo][snapshot.commit]
    assert snapshot.files == {path: len(data) for path, data in files.items()}
    assert fetch_suite(suite_of("STSBenchmark")).n_bytes == sum(map(len, files.values()))


def test_what_is_there_is_not_downloaded_again(hub: DatasetHub, cut_off: object) -> None:
    assert not any(one.was_there for one in fetch_suite(suite_of(*NAMES)).snapshots)
    hub.got.clear()
    assert all(one.was_there for one in fetch_suite(suite_of(*NAMES)).snapshots)
    assert hub.got == []


def test_an_interrupted_download_is_gone_on_with(hub: DatasetHub, cut_off: object) -> None:
    (snapshot,) = fetch_suite(suite_of("AskUbuntuDupQuestions")).snapshots
    lost = snapshot.folder / "top_ranked" / "test-00000-of-00001.parquet"
    lost.resolve().unlink()
    lost.unlink()
    hub.got.clear()
    fetch_suite(suite_of("AskUbuntuDupQuestions"))
    assert [path.split("/", 2)[2] for path in hub.got] == ["top_ranked/test-00000-of-00001.parquet"]


def test_one_data_set_that_cannot_be_had_does_not_cost_the_others(
    hub: DatasetHub, cut_off: Callable[[], None], tmp_path: Path
) -> None:
    hub.gated.add("mteb/AskUbuntuDupQuestions")
    with pytest.raises(PartlyDoneError) as error:
        fetch_suite(suite_of(*NAMES))
    assert "2 of 3 data sets fetched" in str(error.value)
    assert "AskUbuntuDupQuestions: The data of AskUbuntuDupQuestions" in str(error.value)
    assert error.value.exit_code == 1
    cut_off()
    others = suite_of(*NAMES[1:])
    assert collect(create_store(tmp_path / "s.zarr"), others).collected == NAMES[1:]


def test_a_lone_data_set_that_cannot_be_had_is_its_own_error(
    hub: DatasetHub, cut_off: object
) -> None:
    hub.gated.add("mteb/AskUbuntuDupQuestions")
    with pytest.raises(InvalidInputError, match="Ask for access"):
        fetch_suite(suite_of("AskUbuntuDupQuestions"))


def test_another_language_of_a_fetched_task_is_fetched_too(
    small_hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "AmazonCounterfactualClassification"
    hub = hub_of(small_hub, name)
    languages = [TaskSelection.of_all(name, ["test"], [one]) for one in ("de", "ja")]
    with serve(monkeypatch, hub, tmp_path / "cache"):
        reports = [fetch_suite(Suite("one", "", (one,))) for one in languages]
        first, second = (report.snapshots[0] for report in reports)
    assert not any(path.startswith("ja/") for path in first.files)
    assert any(path.startswith("ja/") for path in second.files)
    assert not second.was_there


def test_two_tasks_of_one_data_set_are_reported_as_one(
    small_hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("RedditClustering", "RedditClustering.v2")
    with serve(monkeypatch, hub_of(small_hub, *names), tmp_path / "cache"):
        (snapshot,) = fetch_suite(suite_of(*names)).snapshots
    assert snapshot.repo == "mteb/reddit-clustering"
    assert not snapshot.was_there


def test_the_demo_and_unknown_suites_fetch_nothing(hub: DatasetHub, cut_off: object) -> None:
    assert fetch_suite("demo").snapshots == ()
    with pytest.raises(UnknownNameError):
        fetch_suite("layer-by-layr")
    assert hub.got == []
