"""Counts of texts from mteb's statistics, against what tasks really encode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mteb import TaskMetadata
from mteb.abstasks import (
    AbsTask,
    AbsTaskClassification,
    AbsTaskClusteringLegacy,
    AbsTaskRetrieval,
)

from actstore.evaluate import TaskSelection, resolve_suite
from actstore.evaluate.collection.record import record_calls
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.counts import TextCount, count_texts, total
from tests.support.mteb_data import MORE_TASKS, TASKS, mteb_warnings_ignored

SELECTIONS = {task.name: task for task in resolve_suite("layer-by-layer").tasks}
SUBSETS = {"XGlueWPRReranking": ("de", "en"), "BUCC.v2": ("de-en", "fr-en")}
"""Those of which there is small data, where that is not all."""

BOUNDED = (AbsTaskClassification, AbsTaskClusteringLegacy, AbsTaskRetrieval)
"""Kinds that may encode less: training texts are drawn, sets of one label and queries without an
answer are left out. All others encode what is counted."""


def selection(name: str) -> TaskSelection:
    if name in SELECTIONS:
        return SELECTIONS[name]
    task = catalogue.new_task(name)
    return TaskSelection.of_all(name, task.eval_splits, SUBSETS.get(name, task.hf_subsets))


def statistics(task: AbsTask) -> dict[str, dict[str, object]]:
    """What mteb ships of a task, worked out by mteb from the data it has loaded."""
    splits = {*task.eval_splits, getattr(task, "train_split", task.eval_splits[0])}
    if not task.metadata.is_multilingual:
        return {s: dict(task._calculate_descriptive_statistics_from_split(s)) for s in splits}
    return {
        split: {
            "hf_subset_descriptive_stats": {
                subset: task._calculate_descriptive_statistics_from_split(split, hf_subset=subset)
                for subset in task.hf_subsets
            }
        }
        for split in splits
    }


def count_with(
    selection: TaskSelection, statistics: object, folder: Path, patch: pytest.MonkeyPatch
) -> TextCount | None:
    """The count of a task if these were the statistics mteb ships of it."""
    path = folder / "statistics.json"
    path.write_text(json.dumps(statistics))
    patch.setattr(TaskMetadata, "descriptive_stat_path", property(lambda _: path))
    return count_texts.__wrapped__(selection)


@pytest.mark.parametrize("name", [*TASKS, *MORE_TASKS])
def test_a_task_encodes_what_is_counted_of_mtebs_statistics_of_its_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = selection(name)
    task = catalogue.new_task(name, chosen.splits, chosen.subsets)
    with mteb_warnings_ignored():
        task.load_data()
        shipped = statistics(task)
        texts = [text for call in record_calls(task) for text in call.texts]
    counted = count_with(chosen, shipped, tmp_path, monkeypatch)
    assert counted is not None
    assert len({*texts}) <= counted.n_unique <= counted.n_texts
    assert min(map(len, texts)) >= counted.shortest > 0
    if isinstance(task, BOUNDED):
        assert len(texts) <= counted.n_texts < 1.5 * len(texts)
    else:
        assert len(texts) == counted.n_texts


def test_the_papers_tasks_are_counted_as_they_were_by_hand() -> None:
    counts = {name: count_texts(task) for name, task in SELECTIONS.items()}
    by_hand = {
        "SprintDuplicateQuestions": (202_000, 8_932),
        "AmazonReviewsClassification": (5_400, 5_400),
        "Banking77Classification": (9_240, 9_240),
        "ToxicConversationsClassification": (2_368, 2_368),
        "MTOPIntentClassification": (13_426, 13_424),
        "ArxivClusteringS2S": (732_723, 628_078),
        "TwentyNewsgroupsClustering": (59_545, 5_242),
        "MindSmallReranking": (2_367_791, 42_439),
        "STS17": (500, 500),
        "SICK-R": (19_854, 9_960),
    }
    for name, expected in by_hand.items():
        found = counts[name]
        assert found is not None
        assert (found.n_texts, found.n_unique) == expected
    pinned = [count_texts(task) for task in resolve_suite("layer-by-layer-v1").tasks]
    together = total(count for count in pinned if count is not None)
    assert (together.n_texts, together.n_unique) == (4_733_168, 1_417_096)


def test_every_split_counts_its_training_texts_and_keeps_them_once() -> None:
    one = count_texts(TaskSelection.of_all("AmazonReviewsClassification", ["test"], ["en"]))
    both = ["validation", "test"]
    two = count_texts(TaskSelection.of_all("AmazonReviewsClassification", both, ["en"]))
    assert one is not None
    assert two is not None
    assert two.n_texts == 2 * one.n_texts  # 5,000 texts of each split, 400 to train on
    assert two.n_unique == 2 * 5000 + 400


def test_parallel_texts_are_counted_once_a_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def column(n_unique: int) -> dict[str, float]:
        lengths = {"total_text_length": 500, "average_text_length": 50.0, "min_text_length": 3}
        return {**lengths, "unique_texts": n_unique}

    unique = {"asm_Beng": 10, "ben_Beng": 9, "brx_Deva": 8}
    pairs = [("asm_Beng", "ben_Beng"), ("ben_Beng", "asm_Beng"), ("asm_Beng", "brx_Deva")]
    of_pairs = {
        f"{a}-{b}": {
            "sentence1_statistics": column(unique[a]),
            "sentence2_statistics": column(unique[b]),
        }
        for a, b in pairs
    }
    chosen = TaskSelection.of_all("IN22ConvBitextMining", ["test"], [*of_pairs])
    shipped = {"test": {"hf_subset_descriptive_stats": of_pairs}}
    counted = count_with(chosen, shipped, tmp_path, monkeypatch)
    assert counted == TextCount(n_texts=30, n_unique=27, shortest=3)


def test_a_limit_that_a_task_changes_while_it_loads_is_not_taken_from_its_class() -> None:
    of_class = count_texts(selection("RedditClusteringP2P.v2"))
    changed = count_texts(selection("RedditClustering.v2"))
    assert of_class is not None
    assert changed is not None
    assert of_class.n_texts == int(0.04 * 459_389)
    assert changed.n_texts == 2048  # it subsamples and then takes all, though its class says 0.04


@pytest.mark.parametrize(
    "shipped",
    [
        {},
        {"train": {}},
        {"test": {"hf_subset_descriptive_stats": {"de-de": {"num_samples": 3}}}},
        {"test": {"text1_statistics": {"unique_texts": 3}}},
    ],
)
def test_a_count_that_mteb_has_no_statistics_for_is_not_known(
    shipped: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chosen in (selection("STS12"), selection("STS17")):
        assert count_with(chosen, shipped, tmp_path, monkeypatch) is None
    assert count_texts(selection("DocstringModuleClassification")) is None
