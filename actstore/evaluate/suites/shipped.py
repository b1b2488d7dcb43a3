"""The suites that have a name from the start: ours, and mteb's benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import Suite, TaskSelection

_LAYER_BY_LAYER = {
    "PairClassification": "SprintDuplicateQuestions TwitterSemEval2015 TwitterURLCorpus",
    "Classification": "AmazonCounterfactualClassification AmazonReviewsClassification "
    "Banking77Classification EmotionClassification MTOPDomainClassification "
    "MTOPIntentClassification MassiveIntentClassification MassiveScenarioClassification "
    "ToxicConversationsClassification TweetSentimentExtractionClassification",
    "Clustering": "ArxivClusteringS2S BiorxivClusteringS2S MedrxivClusteringS2S RedditClustering "
    "StackExchangeClustering TwentyNewsgroupsClustering",
    "Reranking": "AskUbuntuDupQuestions MindSmallReranking SciDocsRR StackOverflowDupQuestions",
    "STS": "BIOSSES SICK-R STS12 STS13 STS14 STS15 STS16 STS17 STSBenchmark",
}
"""By name: the paper's rule (MTEB(eng) without p2p and retrieval) selects other tasks in mteb 2."""

_PINNED_BY_MTEB = {
    "AmazonCounterfactualClassification": ("en",),
    "AmazonReviewsClassification": ("en",),
    "MTOPDomainClassification": ("en",),
    "MTOPIntentClassification": ("en",),
    "MassiveIntentClassification": ("en",),
    "MassiveScenarioClassification": ("en",),
    "STS17": ("en-en",),
}
"""The subsets in MTEB(eng, v1) of the tasks that have several."""

_ENGLISH = _PINNED_BY_MTEB | {"AmazonCounterfactualClassification": ("en", "en-ext")}
"""The English subsets of these tasks: the paper averages both of AmazonCounterfactual."""


def layer_by_layer() -> Suite:
    """The 32 tasks of Skean et al. 2025, https://arxiv.org/abs/2502.02013, English, test split."""
    about = "The 32 English tasks of the Layer by Layer paper, test split"
    return Suite("layer-by-layer", about, _the_32_tasks(_ENGLISH))


def layer_by_layer_v1() -> Suite:
    """The same tasks with the data that mteb 2 runs of them in MTEB(eng, v1)."""
    about = "The same 32 tasks as MTEB(eng, v1) runs them: AmazonCounterfactual without en-ext"
    return Suite("layer-by-layer-v1", about, _the_32_tasks(_PINNED_BY_MTEB))


def _the_32_tasks(subsets: Mapping[str, Sequence[str]]) -> tuple[TaskSelection, ...]:
    names = [name for group in _LAYER_BY_LAYER.values() for name in group.split()]
    return tuple(
        TaskSelection.of_all(name, ["test"], subsets.get(name, ("default",))) for name in names
    )


def demo() -> Suite:
    names = catalogue.demo_tasks()
    tasks = [task for name in names for task in of_task(catalogue.text_task(name))]
    return Suite("demo", "Small tasks made of Python's own docstrings; needs no network", (*tasks,))


def mteb_eng_v1() -> Suite:
    return replace(of_benchmark("MTEB(eng, v1)"), name="mteb-eng-v1")


def mteb_eng_v2() -> Suite:
    return replace(of_benchmark("MTEB(eng, v2)"), name="mteb-eng-v2")


SUITES: dict[str, Callable[[], Suite]] = {
    "layer-by-layer": layer_by_layer,
    "layer-by-layer-v1": layer_by_layer_v1,
    "mteb-eng-v2": mteb_eng_v2,
    "mteb-eng-v1": mteb_eng_v1,
    "demo": demo,
}
"""Suites of our own by name. mteb's benchmarks and tasks are suites too, by their names."""


def of_benchmark(name: str) -> Suite:
    """A benchmark of mteb by name or alias: splits and subsets are the benchmark's.

    Raises InvalidInputError for a benchmark with tasks that are not made of text.
    """
    benchmark = catalogue.benchmarks()[name]
    for task in benchmark.tasks:
        catalogue.require_text(task)
    selections = {one.name: one for task in benchmark.tasks for one in of_task(task)}
    return Suite(benchmark.name, first_sentence(benchmark.description), (*selections.values(),))


def of_task(task: Any) -> list[TaskSelection]:
    """All that a task object runs; of an aggregate task its parts."""
    whole = task.metadata.name
    return [
        TaskSelection.of_all(
            part.metadata.name,
            part.eval_splits,
            part.hf_subsets,
            part_of="" if part is task else whole,
        )
        for part in catalogue.parts(task)
    ]


def first_sentence(description: str | None) -> str:
    return (description or "").split(". ")[0].strip()
