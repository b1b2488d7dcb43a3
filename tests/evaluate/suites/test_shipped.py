"""The suites that have a name from the start hold what they are said to hold."""

from __future__ import annotations

import mteb
import pytest

from actstore.evaluate import SUITES, describe_suite, resolve_suite
from actstore.evaluate.suites import catalogue

THE_32_TASKS = """
PairClassification
    SprintDuplicateQuestions mteb/sprintduplicatequestions-pairclassification d66bd1f7
    TwitterSemEval2015 mteb/twittersemeval2015-pairclassification 70970dae
    TwitterURLCorpus mteb/twitterurlcorpus-pairclassification 8b6510b0
Classification
    AmazonCounterfactualClassification mteb/amazon_counterfactual 1f7e6a9d
    AmazonReviewsClassification mteb/AmazonReviewsClassification 6b5d328e
    Banking77Classification mteb/banking77 0fd18e25
    EmotionClassification mteb/emotion 4f58c6b2
    MTOPDomainClassification mteb/MTOPDomainClassification a76d16fa
    MTOPIntentClassification mteb/MTOPIntentClassification 2992d820
    MassiveIntentClassification mteb/amazon_massive_intent 4672e204
    MassiveScenarioClassification mteb/amazon_massive_scenario fad2c6e8
    ToxicConversationsClassification mteb/toxic_conversations_50k edfaf9da
    TweetSentimentExtractionClassification mteb/tweet_sentiment_extraction d604517c
Clustering
    ArxivClusteringS2S mteb/arxiv-clustering-s2s f910caf1
    BiorxivClusteringS2S mteb/biorxiv-clustering-s2s 258694dd
    MedrxivClusteringS2S mteb/medrxiv-clustering-s2s 35191c8c
    RedditClustering mteb/reddit-clustering 24640382
    StackExchangeClustering mteb/stackexchange-clustering 6cbc1f7b
    TwentyNewsgroupsClustering mteb/twentynewsgroups-clustering 6125ec4e
Reranking
    AskUbuntuDupQuestions mteb/AskUbuntuDupQuestions c5691e3c
    MindSmallReranking mteb/MindSmallReranking 227478e3
    SciDocsRR mteb/SciDocsRR 39b83778
    StackOverflowDupQuestions mteb/StackOverflowDupQuestions 5debda00
STS
    BIOSSES mteb/biosses-sts d3fb88f8
    SICK-R mteb/sickr-sts 20a6d6f3
    STS12 mteb/sts12-sts a0d554a6
    STS13 mteb/sts13-sts 7e90230a
    STS14 mteb/sts14-sts 6031580f
    STS15 mteb/sts15-sts ae752c7c
    STS16 mteb/sts16-sts 4d8694f8
    STS17 mteb/sts17-crosslingual-sts faeb7627
    STSBenchmark mteb/stsbenchmark-sts b0fddb56
"""
"""By type: name, dataset and the revision mteb 2.26.24 pins."""


def the_32_tasks() -> list[tuple[str, ...]]:
    """(type, name, dataset, start of the revision) of each."""
    found, kind = [], ""
    for line in THE_32_TASKS.strip().splitlines():
        words = line.split()
        if len(words) == 1:
            kind = words[0]
        else:
            found.append((kind, *words))
    return found


@pytest.mark.parametrize("name", ["layer-by-layer", "layer-by-layer-v1"])
def test_the_papers_32_tasks_are_named_and_of_the_revisions_mteb_pins(name: str) -> None:
    described = describe_suite(name).tasks
    assert [(t.type, t.name, t.dataset, t.revision[:8]) for t in described] == the_32_tasks()
    kinds = [task.type for task in described]
    counts = {"PairClassification": 3, "Classification": 10, "Clustering": 6, "Reranking": 4}
    assert {kind: kinds.count(kind) for kind in kinds} == counts | {"STS": 9}


def test_v1_runs_of_the_32_tasks_what_mteb_runs_in_its_english_benchmark() -> None:
    theirs = {task.metadata.name: task for task in mteb.get_benchmark("MTEB(eng, v1)").tasks}
    ours = resolve_suite("layer-by-layer-v1").tasks
    assert len(ours) == 32
    for task in ours:
        assert task.splits == (*theirs[task.name].eval_splits,)
        assert task.subsets == (*theirs[task.name].hf_subsets,)
        assert {*task.averaged} == {(split, s) for split in task.splits for s in task.subsets}


def test_the_two_differ_in_the_second_subset_of_amazon_counterfactual_alone() -> None:
    papers, mtebs = resolve_suite("layer-by-layer").tasks, resolve_suite("layer-by-layer-v1").tasks
    differing = [(a, b) for a, b in zip(papers, mtebs, strict=True) if a != b]
    assert [a.name for a, _ in differing] == ["AmazonCounterfactualClassification"]
    assert differing[0][0].subsets == ("en", "en-ext")
    assert differing[0][1].subsets == ("en",)


@pytest.mark.parametrize(("name", "theirs"), [(f"mteb-eng-v{n}", f"MTEB(eng, v{n})") for n in "12"])
def test_short_names_of_benchmarks_mean_the_same_tasks(name: str, theirs: str) -> None:
    assert resolve_suite(name).tasks == resolve_suite(theirs).tasks
    assert resolve_suite(name).name == name


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_has_the_splits_and_subsets_named(name: str) -> None:
    suite = resolve_suite(name)
    assert suite.name == name
    for task in suite.tasks:
        known = catalogue.new_task(task.name)
        assert {*task.splits} <= {*known.eval_splits}
        assert {*task.subsets} <= {*known.hf_subsets}
        assert task.averaged
        assert {*task.averaged} <= {(s, subset) for s in task.splits for subset in task.subsets}


def test_the_parts_of_an_aggregate_are_known_as_such_and_count_once() -> None:
    suite = resolve_suite("mteb-eng-v1")
    parts = [task for task in suite.tasks if task.part_of]
    assert len(parts) == 12
    assert {task.part_of for task in parts} == {"CQADupstackRetrieval"}
    assert all(task.name.startswith("CQADupstack") for task in parts)
    assert (len(suite.tasks), suite.n_scores) == (67, 56)


def test_a_benchmark_that_is_not_all_text_is_no_suite() -> None:
    for name, benchmark in catalogue.benchmarks().items():
        if not catalogue.is_text(benchmark):
            with pytest.raises(Exception, match="only tasks of text"):
                resolve_suite(name)
            break
    else:
        pytest.fail("mteb has no such benchmark any more")
