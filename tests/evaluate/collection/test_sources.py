"""Tasks read the commit that mteb pins, or nothing: all is real but the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import pytest
from datasets import Dataset, DatasetDict
from huggingface_hub import constants
from mteb.abstasks import AbsTask

from actstore.errors import InvalidInputError
from actstore.evaluate.collection.bundle import freeze
from actstore.evaluate.collection.collect import collect_task
from actstore.evaluate.collection.sources import dataset_snapshot, loaded
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import TaskSelection
from tests.support.dataset_hub import DatasetHub, hub_of, serve
from tests.support.mteb_data import SmallHub
from tests.support.vector_store import suite_of

KINDS = (
    *("Banking77Classification", "AmazonCounterfactualClassification", "CEDRClassification"),
    *("MassiveIntentClassification", "ToxicConversationsClassification", "STS17", "STSBenchmark"),
    *("SprintDuplicateQuestions", "TwentyNewsgroupsClustering", "RedditClustering.v2"),
    *("AskUbuntuDupQuestions", "MindSmallReranking", "XGlueWPRReranking", "SciFact", "InstructIR"),
    *("SummEvalSummarization.v2", "BUCC.v2", "SciRepEvalBiomimicryClassification"),
)
"""Tasks that are loaded in different ways."""

OTHER = "0123456789abcdef0123456789abcdef01234567"
CutOff = Callable[[], None]


@pytest.fixture
def hub(small_hub: SmallHub) -> DatasetHub:
    return hub_of(small_hub, *KINDS)


@pytest.fixture
def cut_off(hub: DatasetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutOff]:
    """The hub is within reach until this is called."""
    with serve(monkeypatch, hub, tmp_path / ".cache") as cut:
        yield cut


def task_of(name: str) -> AbsTask:
    selection = suite_of(name).tasks[0]
    return catalogue.new_task(name, selection.splits, selection.subsets)


def data_digest(name: str) -> str:
    task = task_of(name)
    with loaded(task) as commits:
        assert commits == dict([pin(name)])
        return freeze(task).digest()


def collected(name: str) -> str:
    """The digest of a task's data and texts."""
    return str(collect_task(suite_of(name).tasks[0]).manifest["digest"])


def pin(name: str) -> tuple[str, str]:
    source = task_of(name).metadata.dataset
    return source["path"], source["revision"]


def put_sentences(hub: DatasetHub, commit: str, word: str) -> None:
    """Other data of STSBenchmark."""
    rows = {"sentence1": [f"{word} a", "b"], "sentence2": ["c", "d"], "score": [1.0, 2.0]}
    hub.put(pin("STSBenchmark")[0], commit, {"default": DatasetDict(test=Dataset.from_dict(rows))})


@pytest.mark.parametrize("name", KINDS)
def test_data_are_those_that_mteb_reads_from_the_hub_and_the_same_offline(
    name: str, cut_off: CutOff
) -> None:
    from_folder = data_digest(name)
    task = task_of(name)
    task.load_data()
    assert from_folder == freeze(task).digest()
    cut_off()
    assert data_digest(name) == from_folder


def test_offline_the_pinned_revision_is_read_though_another_is_newer(
    hub: DatasetHub, cut_off: CutOff
) -> None:
    repo, pinned = pin("STSBenchmark")
    online = collected("STSBenchmark")
    put_sentences(hub, OTHER, "newer")
    newer = datasets.load_dataset(repo, revision=OTHER)
    cut_off()
    # What `datasets` makes of it, asked for the pinned one:
    served = datasets.load_dataset(repo, revision=pinned)
    assert served["test"]["sentence1"][:] == newer["test"]["sentence1"][:]
    assert collected("STSBenchmark") == online


def test_a_hub_that_fails_is_not_replaced_by_another_revision(
    hub: DatasetHub, cut_off: CutOff
) -> None:
    repo, _ = pin("STSBenchmark")
    put_sentences(hub, OTHER, "newer")
    datasets.load_dataset(repo, revision=OTHER)
    hub.repos[repo] = {}
    with pytest.raises(
        InvalidInputError, match=r"STSBenchmark could not be loaded\. The dataset mteb/sts"
    ):
        collected("STSBenchmark")


def test_offline_without_the_data_the_error_says_what_to_fetch(
    hub: DatasetHub, cut_off: CutOff
) -> None:
    repo, pinned = pin("AskUbuntuDupQuestions")
    cut_off()
    with pytest.raises(InvalidInputError) as error:
        collected("AskUbuntuDupQuestions")
    for part in (repo, pinned, "out of reach", "actstore fetch --suite AskUbuntuDupQuestions"):
        assert part in str(error.value)
    assert hub.got == []


def test_a_hub_out_of_reach_is_as_offline(cut_off: CutOff, monkeypatch: pytest.MonkeyPatch) -> None:
    online = collected("SciFact")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{filename}"
    )
    assert collected("SciFact") == online
    with pytest.raises(InvalidInputError, match=r"127\.0\.0\.1:9 is out of reach"):
        collected("STSBenchmark")


def test_a_folder_of_which_only_some_files_were_read_is_not_taken_for_the_data(
    hub: DatasetHub, cut_off: CutOff
) -> None:
    repo, pinned = pin("STSBenchmark")
    datasets.load_dataset(repo, revision=pinned)  # leaves the card alone in the hub cache
    cut_off()
    with pytest.raises(InvalidInputError, match="some may be missing"):
        collected("STSBenchmark")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_file_that_is_gone_or_cut_short_is_noticed(
    damage: Callable[[Path], object], hub: DatasetHub, cut_off: CutOff
) -> None:
    snapshot = dataset_snapshot(task_of("AskUbuntuDupQuestions"))
    assert dataset_snapshot(task_of("AskUbuntuDupQuestions")).was_there
    damage(snapshot.folder / "top_ranked" / "test-00000-of-00001.parquet")
    cut_off()
    with pytest.raises(InvalidInputError, match=r"in part|top_ranked/test-0.* of another length"):
        collected("AskUbuntuDupQuestions")


def test_a_hub_that_answers_with_another_commit_is_refused(
    hub: DatasetHub, cut_off: CutOff
) -> None:
    _, pinned = pin("STSBenchmark")
    put_sentences(hub, OTHER, "wrong")
    hub.answers_with[pinned] = OTHER
    with pytest.raises(InvalidInputError, match="answered with another commit's files"):
        collected("STSBenchmark")


def test_a_gated_data_set_says_where_to_ask(hub: DatasetHub, cut_off: CutOff) -> None:
    repo, _ = pin("STSBenchmark")
    hub.gated.add(repo)
    with pytest.raises(InvalidInputError, match=rf"Ask for access at .*/datasets/{repo}, then: hf"):
        collected("STSBenchmark")


@pytest.mark.parametrize(
    ("name", "subset", "kept", "left_out"),
    [
        ("AmazonCounterfactualClassification", "de", {"de", "en"}, {"ja", "en-ext"}),
        ("XGlueWPRReranking", "en", {"en-corpus", "en-top_ranked"}, {"de-qrels", "de-queries"}),
        ("MassiveIntentClassification", "de", {"default"}, {"ja"}),
    ],
)
def test_files_of_other_languages_are_not_downloaded(
    name: str,
    subset: str,
    kept: set[str],
    left_out: set[str],
    hub: DatasetHub,
    cut_off: CutOff,
) -> None:
    split = task_of(name).eval_splits[0]
    selection = TaskSelection.of_all(name, [split], [subset])
    before = collect_task(selection).manifest["digest"]
    folders = {path.split("/")[2] for path in hub.got if path.endswith(".parquet")}
    assert kept <= folders  # of the first configuration `datasets` tells the format
    assert not left_out & folders
    cut_off()
    assert collect_task(selection).manifest["digest"] == before


def test_files_that_a_kept_language_shares_are_downloaded(
    small_hub: SmallHub, hub: DatasetHub, cut_off: CutOff
) -> None:
    name = "AmazonCounterfactualClassification"
    repo, pinned = pin(name)
    files = dict(hub.repos[repo][pinned])
    files["README.md"] = files["README.md"].replace(b"path: en/", b"path: ??/")
    hub.repos[repo][pinned] = files
    task, by_mteb = (catalogue.new_task(name, ["test"], ["en"]) for _ in range(2))
    with loaded(task):
        by_us = freeze(task).digest()
    by_mteb.load_data()  # second: it leaves files in the hub cache
    assert by_us == freeze(by_mteb).digest()
    tests = [small_hub.data[repo][language]["test"] for language in ("en", "de", "ja")]
    assert len(task.dataset["en"]["test"]) == sum(map(len, tests))


def test_a_task_that_reads_what_is_not_pinned_is_refused(hub: DatasetHub, cut_off: CutOff) -> None:
    name = "SKQuadRetrieval"  # its load_data names a repository and no revision
    repo, pinned = pin(name)
    judged = {"query-id": ["q"], "corpus-id": ["d"], "score": [1]}
    configs = {
        "default": DatasetDict(test=Dataset.from_dict(judged)),
        "corpus": DatasetDict(corpus=Dataset.from_dict({"_id": ["d"], "text": ["a"]})),
        "queries": DatasetDict(queries=Dataset.from_dict({"_id": ["q"], "text": ["b"]})),
    }
    for commit in (pinned, OTHER):
        hub.put(repo, commit, configs)
    hub.branches[repo, "main"] = OTHER
    for config in configs:
        datasets.load_dataset(repo, config)  # prepared and in the cache
    with pytest.raises(InvalidInputError, match="a task that reads others too cannot"):
        collected(name)


def test_settings_are_put_back_and_prepared_data_deleted(cut_off: CutOff, tmp_path: Path) -> None:
    cache = constants.HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE
    collected("STSBenchmark")
    assert cache == (constants.HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE)
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE
    assert [*(tmp_path / ".cache" / "datasets").iterdir()] == []


def test_a_cache_that_may_only_be_read_is_enough(
    cut_off: CutOff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = collected("STSBenchmark")
    cut_off()
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "datasets")
    assert collected("STSBenchmark") == online
